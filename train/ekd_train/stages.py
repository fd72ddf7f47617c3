"""The stages of a run: begin, teach, distil, and the one look at the test subjects at the end."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ekd_edge.errors import ConfigError
from ekd_edge.evaluate import Scores, evaluate
from ekd_train.batchnorm import settle_statistics
from ekd_train.checkpoint import load_weights, save_weights
from ekd_train.config import TrainConfig
from ekd_train.data.source import Source, parse_source
from ekd_train.data.splits import holdout_split
from ekd_train.device import Means, Resident, batch_size, endless_batches
from ekd_train.distill import DistillWeights, build_projection, hard_loss, kd_step
from ekd_train.feedback import Batch, FeedbackWeights, feedback_step
from ekd_train.loop import EpochRecord, Stage, batches, fit, seed_of
from ekd_train.network import NetworkConfig, Output
from ekd_train.progress import TerminalReporter
from ekd_train.run import STUDENT_FILE, TEACHER_FILE, Run, create_run
from ekd_train.student import Student
from ekd_train.teacher import Teacher

__all__ = ["Training"]

EVALUATION_BATCH = 256
SETTLING_WINDOWS = 1024


class Training:
    """A run in progress: its data on the device, and the stages as verbs."""

    def __init__(self, run: Run, device: torch.device, reporter: TerminalReporter) -> None:
        self.run = run
        self.device = device
        self.reporter = reporter
        self._source: Source | None = None
        self._parts: dict[str, Resident] = {}

    @staticmethod
    def begin(config: TrainConfig, path: Path, reporter: TerminalReporter) -> Run:
        """Split the subjects and start the run folder."""
        source = parse_source(config.data)
        eeg_signal = config.signal.eeg() if source.has_eeg else None
        gsr_signal = config.signal.gsr()
        split = holdout_split(source.subjects, config.seed, config.split.validation, config.split.test)
        rows = 1
        if eeg_signal is not None:
            probe = source.windows(
                config.signal.for_training(gsr_signal), config.signal.for_training(eeg_signal), config.targets,
                config.threshold, config.signal.eeg_features, subjects=split.train[:1], high=config.high,
            )  # fmt: skip
            assert probe.eeg is not None
            rows = probe.eeg.shape[1]
        network = NetworkConfig(
            window_samples=gsr_signal.window_samples,
            eeg_rows=rows,
            targets=config.targets,
            **dataclasses.asdict(config.network),
        )
        run = create_run(
            path,
            config=config,
            signal=gsr_signal,
            eeg_signal=eeg_signal,
            network=network,
            source=config.data,
            identity=source.identity,
            synthetic=source.synthetic,
            split=split,
        )
        kind = "synthetic data" if source.synthetic else source.name
        reporter.note(
            f"{kind}: {len(split.train)} training, {len(split.validation)} validation and {len(split.test)} test "
            f"subjects, windows of {gsr_signal.window_s:g} s at {float(gsr_signal.rate_hz):g} Hz -> {path}"
        )
        for note in source.notes:
            reporter.note(note)
        return run

    def teach(self) -> None:
        """Train the teacher, unless the run has it already or the data holds no EEG."""
        if not self.run.has_eeg:
            self.reporter.note("no EEG in this data: no teacher, the student learns from the labels alone")
            return
        if (self.run.path / TEACHER_FILE).is_file():
            return
        config, train = self.run.config, self._part("train")
        torch.manual_seed(seed_of(config.seed, "teacher", "weights"))
        teacher = Teacher(self.run.network).to(self.device)
        optimizer = torch.optim.Adam(teacher.parameters(), lr=config.teacher.learning_rate, fused=True)
        everyone = train.indices(self.run.split.train)
        size = batch_size(config.teacher.batch_size, len(everyone))

        def run_epoch(epoch: int, on_batch: Callable[[], None]) -> Mapping[str, float]:
            mean = Means()
            teacher.train()
            for batch in batches(everyone, size):
                assert train.eeg is not None
                loss = hard_loss(teacher(train.eeg[batch], train.gsr[batch]).logits, train.labels[batch])
                optimizer.zero_grad(set_to_none=True)
                (loss + teacher.regularization()).backward()
                optimizer.step()
                mean.add(loss=loss.detach())
                on_batch()
            return mean.values()

        best = fit(
            Stage(
                name="teacher",
                epochs=config.teacher.epochs,
                batches_per_epoch=len(everyone) // size,
                modules={"teacher": teacher},
                optimizers={"teacher": optimizer},
                keep=teacher,
                run_epoch=run_epoch,
                validate=lambda: self._validate(teacher),
            ),
            self.run.path,
            config.seed,
            self.reporter,
        )
        save_weights(self.run.path / TEACHER_FILE, teacher)
        self._finish("teacher", teacher, best)

    def distill(self) -> None:
        """Distil the student, with adaptive feedback where the configuration asks for it."""
        if (self.run.path / STUDENT_FILE).is_file():
            raise ConfigError(f"{self.run.path} has its student already: choose a new --out")
        config, train = self.run.config, self._part("train")
        network = self.run.network
        torch.manual_seed(seed_of(config.seed, "student", "weights"))
        student = Student(network).to(self.device)
        projection = build_projection(config.distill.projection, network).to(self.device)
        optimizer = torch.optim.Adam(
            [*student.parameters(), *projection.parameters()], lr=config.student.learning_rate, fused=True
        )
        modules: dict[str, nn.Module] = {"student": student, "projection": projection}
        optimizers: dict[str, torch.optim.Optimizer] = {"student": optimizer}
        teacher: Teacher | None = None
        listening = False
        if self.run.has_eeg:
            teacher = Teacher(network).to(self.device)
            load_weights(self._teacher_file(), teacher)
            teacher.eval()
            listening = config.feedback.every > 0
            if listening:
                modules["teacher"] = teacher
                optimizers["teacher"] = torch.optim.Adam(
                    teacher.parameters(), lr=config.feedback.teacher_learning_rate, fused=True
                )
        size = batch_size(config.student.batch_size, len(train.indices(self.run.split.train)))
        everyone = train.indices(self.run.split.train)

        def run_epoch(epoch: int, on_batch: Callable[[], None]) -> Mapping[str, float]:
            mean = Means()
            student.train()
            learners, quiz = self._quiz(train, epoch) if listening else (everyone, None)
            examiner = endless_batches(train, quiz, size) if quiz is not None else None
            for number, batch in enumerate(batches(learners, size)):
                gsr, labels = train.gsr[batch], train.labels[batch]
                if teacher is None:
                    loss = hard_loss(student(gsr).logits, labels)
                    optimizer.zero_grad(set_to_none=True)
                    (loss + student.regularization()).backward()
                    optimizer.step()
                    mean.add(hard=loss.detach())
                else:
                    assert train.eeg is not None
                    lesson = Batch(train.eeg[batch], gsr, labels)
                    if examiner is not None and number % config.feedback.every == 0:
                        told, terms = feedback_step(
                            student, teacher, optimizer, optimizers["teacher"], lesson, next(examiner),
                            config.feedback.inner_learning_rate, weights, projection, balance,
                        )  # fmt: skip
                        mean.add(teacher=told.own, quiz=told.quiz)
                    else:
                        taught = self._teach_on(teacher, optimizers.get("teacher"), lesson)
                        terms = kd_step(student, optimizer, gsr, labels, taught, weights, projection)
                    mean.add(hard=terms.hard, soft=terms.soft, feature=terms.feature)
                on_batch()
            return mean.values()

        weights = DistillWeights(
            hard=config.distill.hard,
            soft=config.distill.soft,
            feature=config.distill.feature,
            temperature=config.distill.temperature,
        )
        balance = FeedbackWeights(config.feedback.hard, config.feedback.quiz)
        share = 1 - config.feedback.quiz_fraction if listening else 1.0
        best = fit(
            Stage(
                name="student",
                epochs=config.student.epochs,
                batches_per_epoch=max(1, math.floor(len(everyone) * share) // size),
                modules=modules,
                optimizers=optimizers,
                keep=student,
                run_epoch=run_epoch,
                validate=lambda: self._validate(student),
            ),
            self.run.path,
            config.seed,
            self.reporter,
        )
        save_weights(self.run.path / STUDENT_FILE, student)
        self._finish("student", student, best)

    @staticmethod
    def _teach_on(teacher: Teacher, optimizer: torch.optim.Optimizer | None, lesson: Batch) -> Output:
        """The teacher's answers; where it is still learning, it takes a step from its own loss as well."""
        if optimizer is None:
            with torch.no_grad():
                fixed: Output = teacher(lesson.eeg, lesson.gsr)
            return fixed
        taught: Output = teacher(lesson.eeg, lesson.gsr)
        optimizer.zero_grad(set_to_none=True)
        (hard_loss(taught.logits, lesson.labels) + teacher.regularization()).backward()
        optimizer.step()
        return taught

    def _quiz(self, train: Resident, epoch: int) -> tuple[Tensor, Tensor]:
        """The windows to learn from and those of the quiz: the quizzing subjects rotate with the epoch."""
        subjects = self.run.split.train
        groups = max(2, round(1 / self.run.config.feedback.quiz_fraction))
        if len(subjects) < 2:
            raise ConfigError("adaptive feedback needs two training subjects: set feedback.every=0")
        quizzing = subjects[epoch % min(groups, len(subjects)) :: min(groups, len(subjects))]
        return train.indices([s for s in subjects if s not in quizzing]), train.indices(quizzing)

    def _teacher_file(self) -> Path:
        path = self.run.path / TEACHER_FILE
        if not path.is_file():
            raise ConfigError(f"{self.run.path} has no teacher yet: ekd-train --resume {self.run.path} trains it")
        return path

    def _part(self, side: str) -> Resident:
        if side not in self._parts:
            if self._source is None:
                self._source = parse_source(self.run.source)
                if self._source.identity != self.run.identity:
                    raise ConfigError(f"{self.run.source} has changed since {self.run.path} was begun: start anew")
            config = self.run.config
            eeg_signal = self.run.eeg_signal
            windows = self._source.windows(
                config.signal.for_training(self.run.signal),
                None if eeg_signal is None else config.signal.for_training(eeg_signal),
                config.targets,
                config.threshold,
                config.signal.eeg_features,
                subjects=getattr(self.run.split, side),
                high=config.high,
            )
            self._parts[side] = Resident.of(windows, self.device)
        return self._parts[side]

    @torch.no_grad()
    def _logits(self, network: Student | Teacher, part: Resident) -> Tensor:
        indices = torch.arange(len(part.gsr), device=self.device)
        return torch.cat([_forward(network, part, piece).logits for piece in indices.split(EVALUATION_BATCH)])

    def _validate(self, network: Student | Teacher) -> dict[str, float]:
        """Validation scores, after BatchNorm's statistics were brought up to date on training windows."""
        train = self._part("train")
        picked = torch.linspace(0, len(train.gsr) - 1, min(SETTLING_WINDOWS, len(train.gsr)), device=self.device)
        settle_statistics(network, lambda batch: _forward(network, train, batch), picked.long().split(EVALUATION_BATCH))
        return self._score(network, "validation")[1]

    def _score(self, network: Student | Teacher, side: str) -> tuple[Scores, dict[str, float]]:
        """Scores of one side: by subject, and their means over subjects and targets with the loss."""
        network.eval()
        part = self._part(side)
        logits = self._logits(network, part)
        scores = evaluate(self.run.network.targets, part.labels.cpu().numpy(), part.subject, logits.cpu().numpy())
        means = {
            "loss": float(hard_loss(logits, part.labels)),
            "accuracy": float(np.mean([target.accuracy for target in scores.targets])),
            "macro_f1": float(np.mean([target.macro_f1 for target in scores.targets])),
        }
        return scores, means

    def _finish(self, name: str, network: Student | Teacher, best: EpochRecord) -> None:
        scores, test = self._score(network, "test")
        self.run = self.run.with_results(
            **{
                name: {
                    "best_epoch": best.epoch,
                    "validation": dict(best.validation),
                    "test": {**test, "subjects": len(self.run.split.test), "targets": scores.to_json()},
                }
            }
        )
        (self.run.path / f"checkpoint-{name}.safetensors").unlink(missing_ok=True)


def _forward(network: Student | Teacher, part: Resident, indices: Tensor) -> Output:
    output: Output
    if isinstance(network, Teacher):
        assert part.eeg is not None
        output = network(part.eeg[indices], part.gsr[indices])
    else:
        output = network(part.gsr[indices])
    return output
