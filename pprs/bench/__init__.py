"""What things cost, as ratios of times measured side by side in one process."""

from pprs.bench.gradient import GradientBench, bench_gradient

__all__ = ["GradientBench", "bench_gradient"]
