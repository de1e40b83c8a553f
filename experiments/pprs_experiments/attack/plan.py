"""What is run: methods with their grids, pairs of classes, and the jobs in their order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from pprs_experiments.attack.library import (
    GreyLevel,
    Measured,
    Noise,
    Untuned,
    auto,
    searched,
)
from pprs_experiments.attack.rules import (
    Rule,
    adam,
    duchi,
    nesterov,
    proximal,
    sign,
    subgradient,
)
from pprs_experiments.attack.running import PLAIN_STEPS, steps_for

SOURCE = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
"""The source's grid, of step sizes and of sigma."""
DECADES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
FINE = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
"""Around what is best for steps of about the same length in every pixel."""
SIGMAS = (1e-2, 1e-3, 1e-4)
RADII = (0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.024)

DEPTHS = (200, 20, 1)
"""The source's; and 1, where equal pipeline time is an equal number of gradients."""
IMAGES = 5
"""In a part: of each pair of classes, part 0 is for tuning, and the others are reported on."""
TUNING, REPORTED = (0,), (1, 2, 3, 4)


@dataclass(frozen=True)
class Method:
    """A method with its grid.

    Args:
        label: in tables and figures.
        rule: of its steps; or one of the others below.
        lrs: step sizes, or what takes their place.
        samples: K.
        sigmas: of the noise.
        annealed: whether that falls.
        untuned: what the library does by itself.
    """

    label: str
    rule: Rule | None = None
    lrs: tuple[float, ...] = (0.0,)
    samples: tuple[int, ...] = (1,)
    sigmas: tuple[float, ...] = (0.0,)
    annealed: bool = False
    untuned: Untuned | None = None

    @property
    def averages(self) -> bool:
        """Whether what it does depends on the depth."""
        return self.untuned is not None or self.samples != (1,)

    def grid(self, samples: int | None = None) -> int:
        """How many settings there are, of one K or of all."""
        draws = len(self.samples) if samples is None else 1
        return draws * len(self.sigmas) * len(self.lrs)


METHODS: Mapping[str, Method] = {
    "adam": Method("Adam, decades", adam(), DECADES),
    "adam-fine": Method("Adam", adam(), FINE),
    "auto": Method("pprs.minimize, nothing tuned", untuned=auto),
    "searched-measured": Method("searched step, σ by bias", untuned=searched(Measured)),
    "searched-grey": Method("searched step, σ from a grey level", untuned=searched(GreyLevel)),
    "searched": Method("searched step, σ by default", untuned=searched(Noise)),
    "gd": Method("GD", nesterov(0), SOURCE),
    "agd": Method("AGD, μ = 0.99", nesterov(0.99), SOURCE),
    "pprs": Method("PPRS of the source", nesterov(0), SOURCE, (2, 10, 100), SOURCE),
    "adam-falling": Method("Adam, falling steps", adam(falling=True), FINE),
    "agd-0.9": Method("AGD, μ = 0.9", nesterov(0.9), SOURCE),
    "subgradient": Method("subgradient, 1/√t", subgradient, DECADES),
    "sign": Method("sign descent", sign, FINE),
    "proximal": Method("proximal gradient", proximal, DECADES),
    "one-draw": Method("one draw", nesterov(0), SOURCE, (1,), SIGMAS),
    "one-draw-adam": Method("one draw before Adam", adam(), FINE, (1,), SIGMAS),
    "pprs-adam": Method("smoothing before Adam", adam(), FINE, (10, 100), SIGMAS, annealed=True),
    "duchi": Method("Duchi et al.", duchi, (0.1, 0.3, 1.0, 3.0, 10.0), (10, 100), (1.0,)),
    "apgd": Method("APGD (ART)", lrs=RADII),
}


@dataclass(frozen=True)
class Claim:
    """That a method ends lower than a rival.

    Args:
        ours: the method.
        rival: of it.
        hindsight: whether the rival has the best of its grid for each image; else both have what
            was best in tuning (or choose by themselves).
    """

    ours: str
    rival: str
    hindsight: bool = False

    def __str__(self) -> str:
        best = ", best of its grid for each image" if self.hindsight else ""
        return f"{METHODS[self.ours].label} below {METHODS[self.rival].label}{best}"


_NEW = [name for name, method in METHODS.items() if method.untuned is not None]

HEADLINES = (
    *(Claim("pprs", rival) for rival in ("gd", "agd")),
    *(Claim(name, "adam", hindsight=True) for name in _NEW),
    *(Claim(rival, "pprs") for rival in ("adam-fine", "adam-falling", "sign", "proximal")),
)
"""Claims that the first paragraph of the report is about."""

CLAIMS = (
    *HEADLINES,
    *(Claim(name, "adam-fine", hindsight=True) for name in _NEW),
    *(Claim("pprs", rival) for rival in ("one-draw", "duchi")),
    *(Claim("pprs-adam", rival) for rival in ("adam-fine", "one-draw-adam", "adam-falling")),
)


@dataclass(frozen=True)
class Pair:
    """A class that is attacked, and the one it shall be taken for."""

    name: str
    label: int
    target: int


FROGS = Pair("frog-horse", 6, 7)
PAIRS = (FROGS, Pair("cat-dog", 3, 5), Pair("ship-truck", 8, 9), Pair("bird-airplane", 2, 0))


@dataclass(frozen=True)
class Job:
    """A method at all its step sizes, on some images.

    Args:
        pair: of classes.
        part: which images.
        depth: of the pipeline; 0 where it makes no difference.
        method: its name.
        samples: K; 0 where the method chooses.
        sigma: of the noise; `None`: sigma and step size are those that were best in tuning.
    """

    pair: Pair
    part: int
    depth: int
    method: str
    samples: int
    sigma: float | None

    @property
    def key(self) -> str:
        """Tells it from all others, in the file of results."""
        sigma = "tuned" if self.sigma is None else f"{self.sigma:g}"
        names = self.pair.name, self.part, self.depth, self.method, self.samples, sigma
        return "|".join(map(str, names))

    @property
    def grid(self) -> tuple[int, str, int]:
        """What the settings of one grid share."""
        return self.depth, self.method, self.samples

    @property
    def lanes(self) -> int:
        """How many step sizes, and rows of results, it has."""
        return 1 if self.sigma is None else len(METHODS[self.method].lrs)

    @property
    def queries(self) -> int:
        """About how many gradients it takes, over all images."""
        samples = self.samples or max(4, self.depth // 2)
        return self.lanes * IMAGES * samples * steps_for(samples, max(1, self.depth), PLAIN_STEPS)


def jobs() -> list[Job]:
    """All, in the order in which they are run: first what the main claims need."""
    listed = [*_single(FROGS, REPORTED), *_single(FROGS, TUNING)]
    for depth in DEPTHS:
        listed += _untuned(FROGS, depth)
        for name, samples in _averaging():
            listed += _grid(TUNING, depth, name, samples)
            listed += _tuned(FROGS, depth, name, samples)
    for pair in PAIRS[1:]:
        listed += _single(pair, REPORTED)
        for depth in DEPTHS:
            listed += _untuned(pair, depth)
            for name, samples in _averaging():
                listed += _tuned(pair, depth, name, samples)
    for depth, samples in product(DEPTHS, METHODS["pprs"].samples):
        listed += _grid(REPORTED, depth, "pprs", samples)
    return listed


def _single(pair: Pair, parts: Sequence[int]) -> Iterator[Job]:
    """Methods with one gradient a step, at all depths."""
    for name, method in METHODS.items():
        if not method.averages:
            for sigma, part in product(method.sigmas, parts):
                yield Job(pair, part, 0, name, 1, sigma)


def _untuned(pair: Pair, depth: int) -> Iterator[Job]:
    for (name, method), part in product(METHODS.items(), REPORTED):
        if method.untuned is not None:
            yield Job(pair, part, depth, name, 0, 0.0)


def _grid(parts: Sequence[int], depth: int, name: str, samples: int) -> Iterator[Job]:
    for sigma, part in product(METHODS[name].sigmas, parts):
        yield Job(FROGS, part, depth, name, samples, sigma)


def _tuned(pair: Pair, depth: int, name: str, samples: int) -> Iterator[Job]:
    for part in REPORTED:
        yield Job(pair, part, depth, name, samples, None)


def _averaging() -> Iterator[tuple[str, int]]:
    """Methods whose grid depends on the depth, with each K."""
    for name, method in METHODS.items():
        if method.averages and method.untuned is None:
            yield from ((name, samples) for samples in method.samples)
