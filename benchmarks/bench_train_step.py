# ruff: noqa: D102
"""Training steps of student and teacher (forward, backward, Adam), in samples a second, next to a plain PyTorch port.

The peer, in this file, is a direct implementation: convolutions, separate query, key and value, einsum
attention, all blocks, torch's default Adam. Both run in turns in the same process on the same data. The published
Keras model did 200 to 284 (student) and 100 to 137 (teacher) samples a second on another 2-core machine.

    python -m benchmarks.bench_train_step [--threads 2] [--rounds 9]
"""

import math
import statistics
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.bench import interleave, options_of, ratio, table, write
from ekd_train.models.config import NetworkConfig
from ekd_train.models.student import Student
from ekd_train.models.teacher import Teacher
from ekd_train.settings.sections import DistillConfig, FeedbackConfig
from ekd_train.training.distillation import build_projection, kd_step
from ekd_train.training.feedback import Batch, feedback_step

CONFIG = NetworkConfig()
KERAS = {"student": "200-284", "teacher": "100-137"}


class PlainHead(nn.Module):
    """Convolutions and batch norm."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.temporal = nn.Conv2d(1, 64, (1, 32), stride=(1, 8))
        self.bn = nn.BatchNorm2d(64, eps=1e-3, momentum=0.01)
        self.spatial = nn.Conv2d(64, 64, (rows, 1))
        self.dropout = nn.Dropout(0.3)

    def forward(self, signal: Tensor) -> Tensor:
        tokens = self.spatial(F.relu(self.bn(self.temporal(signal.unsqueeze(1)))))
        return self.dropout(tokens.squeeze(2).transpose(1, 2))


class PlainBlock(nn.Module):
    """Transformer block with separate query, key and value."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(64, 512), nn.Linear(64, 512), nn.Linear(64, 512)
        self.output = nn.Linear(512, 64)
        self.norm1, self.norm2 = nn.LayerNorm(64, eps=1e-6), nn.LayerNorm(64, eps=1e-6)
        self.dense1, self.dense2 = nn.Linear(64, 64), nn.Linear(64, 64)
        self.dropout = nn.Dropout(0.1)

    def attend(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).view(*x.shape[:2], 8, 64) for f in (self.query, self.key, self.value))
        scores = torch.einsum("bqhd,bkhd->bhqk", q / math.sqrt(64), k).softmax(-1)
        return self.output(torch.einsum("bhqk,bkhd->bqhd", scores, v).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.dropout(self.attend(x)))
        return self.norm2(x + self.dropout(self.dense2(F.relu(self.dense1(x)))))


class PlainEncoder(nn.Module):
    """Three blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(64, 64) * 0.05)
        self.blocks = nn.ModuleList(PlainBlock() for _ in range(3))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = x + self.position[: x.shape[1]]
        depths = []
        for block in self.blocks:
            x = block(x)
            depths.append(x)
        return depths


class PlainScore(nn.Module):
    """Tokens multiplied by their score gate."""

    def __init__(self) -> None:
        super().__init__()
        self.dense1, self.dense2 = nn.Linear(64, 64), nn.Linear(64, 64)
        self.bn1 = nn.BatchNorm1d(64, eps=1e-3, momentum=0.01)
        self.bn2 = nn.BatchNorm1d(64, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.bn1(self.dense1(x).transpose(1, 2)))
        score = self.bn2(self.dense2(hidden.transpose(1, 2)).transpose(1, 2))
        return F.softsign(score).transpose(1, 2) * x


def plain_classifier(feature: int) -> nn.Sequential:
    widths = (feature, 128, 128, 128, 2)
    return nn.Sequential(nn.Dropout(0.5), *(nn.Linear(a, b) for a, b in pairwise(widths)))


class PlainStudent(nn.Module):
    """The peer: a straightforward port of the published student."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.encoder = PlainHead(1), PlainEncoder()
        self.scores = nn.ModuleList(PlainScore() for _ in range(3))
        self.classifier = plain_classifier(3904)

    def forward(self, gsr: Tensor) -> Tensor:
        depths = self.encoder(self.head(gsr.unsqueeze(1)))
        fused = torch.stack([score(x) for score, x in zip(self.scores, depths, strict=True)]).sum(0)
        return self.classifier(fused.flatten(1))

    def penalty(self) -> Tensor:
        return 1e-3 * (self.head.temporal.weight.square().sum() + self.head.spatial.weight.square().sum())


class PlainTeacher(nn.Module):
    """The peer: a straightforward port of the published teacher with its unused block."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList([PlainHead(28), PlainHead(1)])
        self.encoders = nn.ModuleList([PlainEncoder(), PlainEncoder()])
        self.before = nn.ModuleList(PlainScore() for _ in range(2))
        self.after = nn.ModuleList(PlainScore() for _ in range(2))
        self.classifier = plain_classifier(7808)

    def forward(self, eeg: Tensor, gsr: Tensor) -> Tensor:
        eegs = self.encoders[0](self.heads[0](eeg))
        gsrs = self.encoders[1](self.heads[1](gsr.unsqueeze(1)))
        fused = []
        for k in range(2):
            before, after = torch.cat([eegs[k], gsrs[k]], 1), torch.cat([eegs[k], gsrs[k + 1]], 1)
            fused.append(self.after[k](after) + self.before[k](before))
        return self.classifier((fused[0] + fused[1]).flatten(1))

    def penalty(self) -> Tensor:
        kernels = [k for head in self.heads for k in (head.temporal.weight, head.spatial.weight)]
        return 1e-3 * sum(kernel.square().sum() for kernel in kernels)


def plain_step(network: nn.Module, inputs: tuple[Tensor, ...], labels: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    network.train()

    def step() -> None:
        optimizer.zero_grad()
        (F.cross_entropy(network(*inputs), labels) + network.penalty()).backward()
        optimizer.step()

    return step


def our_step(network: Student | Teacher, inputs: tuple[Tensor, ...], labels: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)
    network.train()

    def step() -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(*inputs).logits.flatten(0, 1), labels)
        (loss + network.regularization()).backward()
        optimizer.step()

    return step


def distillation(batch: int) -> dict[str, Callable[[], object]]:
    """Return student steps by name: from a frozen teacher, with a teacher step each, and with feedback."""
    student, teacher, projection = Student(CONFIG), Teacher(CONFIG), build_projection("pool", CONFIG)
    frozen = Teacher(CONFIG).eval()
    optimizers = [torch.optim.Adam(n.parameters(), lr=1e-4, fused=True) for n in (student, teacher)]
    train, quiz = (
        Batch(torch.randn(batch, 28, 512), torch.randn(batch, 512), torch.randint(0, 2, (batch, 1))) for _ in range(2)
    )
    weights, balance = DistillConfig(), FeedbackConfig()

    def kd(source: Teacher) -> None:
        with torch.no_grad():
            teacher_output = source(train.eeg, train.gsr)
        kd_step(student, optimizers[0], train.gsr, train.labels, teacher_output, weights, projection)

    def joint() -> None:
        output = teacher(train.eeg, train.gsr)
        optimizers[1].zero_grad()
        (F.cross_entropy(output.logits.flatten(0, 1), train.labels.flatten()) + teacher.regularization()).backward()
        optimizers[1].step()
        kd_step(student, optimizers[0], train.gsr, train.labels, output, weights, projection)

    def feedback() -> None:
        feedback_step(student, teacher, *optimizers, train, quiz, 1e-3, weights, projection, balance)

    return {"frozen teacher": lambda: kd(frozen), "joint training": joint, "feedback": feedback}


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    batches, distilled = (32, 128), 64
    if options.smoke:
        options.rounds, batches, distilled = 1, (2,), 2
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    figures: dict[str, str | int | float] = {"threads": options.threads, "rounds": options.rounds}
    rows = []
    for kind in ("student", "teacher"):
        for batch in batches:
            eeg, gsr = torch.randn(batch, 28, 512), torch.randn(batch, 512)
            labels = torch.randint(0, 2, (batch,))
            inputs = (gsr,) if kind == "student" else (eeg, gsr)
            ours, plain = (Student, PlainStudent) if kind == "student" else (Teacher, PlainTeacher)
            seconds = interleave(
                {
                    "plain": plain_step(plain(), inputs, labels),
                    "ekd": our_step(ours(CONFIG), inputs, labels),
                },
                rounds=options.rounds,
                warmup=2,
            )
            speed = {name: batch / statistics.median(times) for name, times in seconds.items()}
            gain = ratio(seconds["plain"], seconds["ekd"])
            key = f"{kind}.batch{batch}"
            figures |= {f"{key}.{name}_samples_per_s": round(value, 1) for name, value in speed.items()}
            figures[f"{key}.ratio_to_plain"] = round(gain, 3)
            rows.append([kind, batch, speed["ekd"], speed["plain"], gain, KERAS[kind]])
    header = ["step of", "batch", "ekd samples/s", "plain PyTorch", "ratio", "Keras elsewhere"]
    print(table(header, rows))

    seconds = interleave(distillation(distilled), rounds=options.rounds, warmup=2)
    rows = []
    for name, times in seconds.items():
        cost = ratio(times, seconds["frozen teacher"])
        rows.append([name, distilled, distilled / statistics.median(times), cost])
        key = f"distill.batch{distilled}.{name.replace(' ', '_')}"
        figures[f"{key}_samples_per_s"] = round(distilled / statistics.median(times), 1)
        figures[f"{key}_cost"] = round(cost, 3)
    print()
    print(table(["distillation step", "batch", "samples/s", "cost"], rows))
    print(f"written to {write('train_step', figures, options.smoke)}")


if __name__ == "__main__":
    main()
