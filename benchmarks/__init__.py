"""Speed and accuracy measured against named peers, side by side in one run."""
