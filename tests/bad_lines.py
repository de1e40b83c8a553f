"""What can be wrong on a command line: words to add to a right one, and what names the fault."""

from dataclasses import fields
from pathlib import Path
from string import ascii_letters
from typing import Literal, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from pprs.cli.bounds import BoundsConfig
from pprs.cli.explore import ExploreConfig
from pprs.cli.plan import PlanConfig
from pprs.cli.report import ReportConfig
from pprs.cli.simulate import SimulateConfig
from pprs.cli.trace import TraceConfig
from pprs.compare import CompareConfig
from pprs.training import TrainConfig

KINDS = {
    "train": TrainConfig,
    "compare": CompareConfig,
    "plan": PlanConfig,
    "bounds": BoundsConfig,
    "report": ReportConfig,
    "simulate": SimulateConfig,
    "trace": TraceConfig,
    "explore": ExploreConfig,
}
CONFIG = b"--config"  # before the text of a file, which is still to be written
IN_FILES = ("train", "compare", "plan")  # their settings may stand in a TOML file
LONG = "a" * 300  # more than a file system takes

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
NASTY = st.one_of(
    TEXT,
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["1" + "0" * 400, "1" + "0" * 5000, "9" * 18, "1e400", "1e-400", "-0", "0", "1_0", "٣",
         "None", "auto", "nesterov", "mine.py:model", "mine.py:number", "torch:ones", ".", "..",
         "/", "~", LONG, "file", "file/x", "folder.png", "dangling", "loop/x", "/proc/x", "\udcff",
         "💥", "[/b]", "$x$", "-", "--", "-x", "-1e-5", "-inf"]
    ),
)  # fmt: skip

EXTREME = ["1" + "0" * 400, "9" * 18, "-" + "9" * 18, LONG, "new/" + LONG, "dangling", "\udcff", ""]


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


WORDS = ("None", "auto", "nesterov")  # that some flags take instead of a number
ODD = st.sampled_from(["ten", "", "1,5", "0x1F", "½", "∞", "true", "[1]", "\udcff"])
NO_NUMBER = (TEXT | ODD).filter(
    lambda text: not is_number(text) and not text.startswith("-") and text not in WORDS
)
NO_INTEGER = NO_NUMBER | st.sampled_from(["1.5", "1e3", "nan", "inf", "-inf", "-0.5", "1."])
NO_FLOAT = st.sampled_from(["nan", "inf", "-inf", "1e999"])
BELOW_1 = st.integers(max_value=0).map(str)
BELOW_0 = st.integers(max_value=-1).map(str)
NEGATIVE = st.floats(max_value=-1e-300, allow_infinity=False).map(str) | NO_FLOAT
NOT_POSITIVE = st.floats(max_value=0).map(str) | NO_FLOAT
NO_FILE = st.sampled_from(["nowhere/x", "file/x", "folder.png", "", LONG, LONG + "/x", "/"])
NO_PICTURE = NO_FILE | st.sampled_from(["x", "x.jpg", "x.png/x.pdf", LONG + ".png"])
NO_NAME = st.sampled_from(["", ".", "..", "a/b", "/", "a/", LONG])
NO_PLACE = st.sampled_from(["file", "file/x", "dangling", "loop", "loop/x", LONG, "new/" + LONG])
NO_FUNCTION = st.one_of(
    TEXT.filter(lambda text: ":" not in text and not text.startswith("-")),
    st.sampled_from(
        [":", "mine.py:", ":model", "nowhere:x", "nowhere.py:x", "module.py:x", "mine.py:nothing",
         "mine.py:number", "..:x", ".:x", "/:x", "mine:model:x", "os.path.x:x", LONG + ":x",
         LONG + ".py:x", "loop/x.py:x", "💥:x", "\udcff:x", "damaged.py:x", "leaves.py:x"]
    ),
)  # fmt: skip
OUT_OF_RANGE = {
    "train": {
        "model": NO_FUNCTION | st.just("torch:ones"),
        "data": NO_FUNCTION | st.just("torch:ones"),
        "loss": NO_FUNCTION,
        "optimizer": NO_FUNCTION | st.just("torch.optim:Optimizer"),
        "decay": NO_FUNCTION | st.just("torch:ones"),
        **dict.fromkeys(["steps", "epochs", "batch", "accumulate", "evaluate"], BELOW_1),
        **dict.fromkeys(["stages", "replicas", "samples", "microbatches"], BELOW_1),
        **dict.fromkeys(["save_every", "keep"], BELOW_1),
        **dict.fromkeys(["warmup", "max_restarts"], BELOW_0),
        **dict.fromkeys(["weight_decay", "save_minutes", "momentum", "sigma"], NEGATIVE),
        **dict.fromkeys(["lr", "clip", "silence"], NOT_POSITIVE),
        "target_loss": NO_FLOAT,
        "target_accuracy": NOT_POSITIVE | st.floats(1, exclude_min=True).map(str),
        "trace": NO_FILE,
        "resume": NO_PLACE | st.sampled_from([".", "nowhere"]),
        "name": NO_NAME,
        "out": NO_PLACE,
    },
    "compare": {
        "model": NO_FUNCTION,
        "data": NO_FUNCTION,
        "loss": NO_FUNCTION,
        "optimizer": NO_FUNCTION,
        **dict.fromkeys(["seeds", "width", "points", "shots", "stages", "replicas"], BELOW_1),
        **dict.fromkeys(["tuning_seeds", "side_by_side", "tested", "steps", "epochs"], BELOW_1),
        **dict.fromkeys(["samples", "depth", "batch"], BELOW_1),
        "trials": BELOW_1 | st.integers(10).map(str),
        "held_out": NOT_POSITIVE | st.floats(1).map(str),
        **dict.fromkeys(["momentum", "weight_decay", "warmup"], NEGATIVE),
        **dict.fromkeys(["lr", "sigma", "clip"], NOT_POSITIVE),
        "time": NO_NUMBER | st.sampled_from(["0", "0s", "-1m", "5 days"]),
        "trace": NO_FILE,
        "name": NO_NAME,
        "out": NO_PLACE,
    },
    "plan": {
        "model": NO_FUNCTION | st.just("torch:ones"),
        "data": NO_FUNCTION | st.just("torch:ones"),
        "loss": NO_FUNCTION,
        **dict.fromkeys(["width", "depth", "batch", "devices", "repeat", "repeats"], BELOW_1),
        "samples": BELOW_1 | st.integers(1_000_001).map(str),
        **dict.fromkeys(["latency", "optimizer_state", "checkpoint", "restart"], NEGATIVE),
        "tolerance": NEGATIVE,
        **dict.fromkeys(["sigma", "bandwidth", "memory", "mtbf", "target"], NOT_POSITIVE),
        "speeds": NOT_POSITIVE,
        "profile": NO_PLACE | st.sampled_from([".", "nowhere", "mine.py", "timeline.json"]),
        **dict.fromkeys(["save_profile", "json"], NO_FILE),
    },
    "bounds": {
        **dict.fromkeys(["depth", "dimension", "batch"], BELOW_1),
        **dict.fromkeys(["epsilon", "lipschitz", "smoothness", "radius", "gap"], NOT_POSITIVE),
        "goldstein_radius": NOT_POSITIVE,
        "json": NO_FILE | st.just("/proc/x"),
    },
    "report": {"out": NO_FILE | st.sampled_from(["x", "x.png", "x.html/x.html", LONG + ".html"])},
    "simulate": {
        **dict.fromkeys(["seeds", "limit"], BELOW_1),
        "depths": BELOW_1 | st.integers(10_001).map(str),
        **dict.fromkeys(["pairs", "coordinates"], BELOW_1 | st.integers(1_000_001).map(str)),
        "ratio": NOT_POSITIVE,
        "json": NO_FILE,
        "plot": NO_PICTURE,
    },
    "trace": {
        "step": BELOW_0 | st.integers(2).map(str),
        "picture": NO_PICTURE,
        "json": NO_FILE | st.just("/proc/x"),
    },
    "explore": {
        "trace": NO_PLACE | st.sampled_from([".", "nowhere", "mine.py"]),
        "profile": NO_PLACE | st.sampled_from([".", "nowhere", "mine.py", "timeline.json"]),
        "out": NO_FILE | st.just("/proc/x"),
    },
}
# Each is right, but not together; nor is it with any other flags.
DO_NOT_FIT = {
    "train": [
        "--steps 3 --epochs 3",
        "--sigma 0 --samples 4",
        "--momentum nesterov --optimizer sgd",
        "--weight-decay 0.1 --optimizer agd",
        "--warmup 1 --decay mine.py:decay",
        "--schedule zb-v --stages 3",
        "--schedule zb-v --recompute",
        "--stages 2 --cut a b",
        "--stages 2 --cut nolayer",
        "--stages 50 --schedule gpipe",
        "--stages 999999999999 --schedule gpipe",
        "--sigma 1 --samples 4 --microbatches 3 --split perturbations",
        "--sigma 1 --samples 999999999999999 --split perturbations",
        "--replicas 999999999999 --microbatches 2",
        "--antithetic --samples 3",
        "--loss mse --model mine.py:model",
        "--shift-labels",
        "--config right.toml --resume nowhere",
    ],
    "compare": [
        "--stages 3 --depth 2",
        "--samples 10",
        "--stages 2 --microbatches 5",
        "--antithetic --samples 9",
        "--model mine.py:model",
        "--model mine.py:model --data mine.py:data --shots 2",
        "--steps 10 --epochs 2",
        "--schedule zb-v --stages 3",
        "--samples 999999999999999",
        "--replicas 999999999999 --microbatches 2 --depth 9",
        "--shots 1",
        "--shots 500",
        "--methods gd gd",
        "--methods plain",
    ],
    "plan": [
        "--speeds 1 2 3",
        "--devices 3 --speeds 1 1",
        "--devices 999999999999",
        "--loss mse --model mine.py:model",
        "--shift-labels",
        "--samples 999999999999999",
    ],
    "bounds": ["--epsilon 2 --lipschitz 1 --goldstein-radius -1", "--epsilon 1e-300"],
    "report": ["nowhere", "file", "folder.png", "mine.py --out x.html"],
    "simulate": [
        "--function smooth --coordinates 3",
        "--function smooth --methods pprs",
        "--methods pprs pprs",
        "--depths",
        "--ratio 1e300",
    ],
    "trace": ["--picture x.png --step 7"],
    "explore": ["--trace nowhere --out x.html"],
}
# Text of TOML files, each wrong by itself.
TOML = {
    "train": [
        "sigma = '0'", "stages = 2.5", "cut = [1]", "resume = 3", "schedule = 'zb'", "lr = true"
    ],
    "compare": [
        "sigma = '0'", "stages = 2.5", "lr = ['a']", "methods = ['gdd']", "out = 3", "full = 8"
    ],
    "plan": [
        "sigma = '0'", "devices = 2.5", "speeds = ['a']", "json = 3", "overlap = 1", "target = true"
    ],
}  # fmt: skip
NO_TOML = st.one_of(
    st.sampled_from(
        [b"sgima = 1", b"[sigma]\nx = 1", b"stages = 1979-05-27", b"stages = [[2]]", b"name = {}",
         b"sigma", b"sigma = ", b"sigma = 1\nsigma = 2", b"name = 'a", b"\xff\xfe", b"\0",
         b"\xef\xbb\xbf", b"stages = " + b"1" * 5000, b"lr = " + b"[" * 5000, b"name = ''",
         b"name = \"\\u0000\"", b"out = \"\\u0000\"", b"trace = \"\\u0000/x\""]
    ),
    TEXT.map(lambda text: ("☃" + text).encode()),
)  # fmt: skip


def flag(name):
    return "--" + name.replace("_", "-")


def named(*words):
    """Words, and those of them that may name the fault; a field's name is as good as its flag."""
    flags = [word for word in words if word.startswith("--")]
    names = [word[2:] for word in flags] + ["write .:", "from .:", "read .:"] * (
        "" in words
    )  # what Path("") is
    return list(words), [*words, *names, *(name.replace("-", "_") for name in names)]


def wrong_types(kind):
    """Each flag with values that are not of its type."""
    for name, hint in get_type_hints(kind).items():
        parts = parts_of(hint)
        if bool in parts:
            yield switch(name)
        elif str not in parts and Path not in parts:
            yield flagged(name, NO_NUMBER if float in parts else NO_INTEGER)


def flagged(name, values):
    return values.map(lambda value: named(flag(name), value))


def switch(name):
    """A flag that takes no value with one."""
    return NO_NUMBER.map(lambda value: ([f"{flag(name)}={value}?"], [flag(name), f"{value}?"]))


def parts_of(hint):
    """The types that a hint is made of; a choice of words counts as text that nothing fits."""
    if get_origin(hint) is Literal:
        return [Literal]
    inner = [part for part in get_args(hint) if part is not Ellipsis]
    return [part for arg in inner for part in parts_of(arg)] if inner else [hint]


def missing_values(kind):
    """Each flag that takes a value without one."""
    for field in fields(kind):
        hint = get_type_hints(kind)[field.name]
        if hint is not bool and get_origin(hint) is not tuple and field.name != "file":
            yield named(flag(field.name))


def unknown_flags(kind):
    known = {field.name for field in fields(kind)}
    names = st.text(ascii_letters + "-_é", min_size=4, max_size=9).filter(
        lambda name: name.replace("-", "_") not in known and not name.startswith(("no-", "-"))
    )
    return names.map(lambda name: named(f"--{name}"))


def out_of_range(command):
    return [flagged(name, values) for name, values in OUT_OF_RANGE[command].items()]


def wrong_files(command):
    """Files of settings that cannot be read, or are wrong."""
    yield st.sampled_from(["nowhere.toml", ".", "loop", LONG, "file/x"]).map(
        lambda file: named("--config", file)
    )
    text = NO_TOML | st.sampled_from(TOML[command]).map(str.encode)
    yield text.map(lambda text: ([CONFIG, text], ["wrong.toml"]))


def wrong(command):
    """Words that make any right line of a command wrong, and what may name the fault."""
    kind = KINDS[command]
    files = wrong_files(command) if command in IN_FILES else ()
    return st.one_of(
        st.sampled_from([named(*words.split()) for words in DO_NOT_FIT[command]]),
        st.sampled_from(list(missing_values(kind))),
        st.one_of(*out_of_range(command)),
        st.one_of(*wrong_types(kind)),
        unknown_flags(kind),
        *files,
    )


def odd(command):
    """A flag of a command with whatever value."""
    return st.builds(flag_with, st.sampled_from(with_values(command)), NASTY)


def with_values(command):
    """The flags of a command that take a value."""
    hints = get_type_hints(KINDS[command])
    return [flag(name) for name, hint in hints.items() if hint is not bool and name != "file"]


def flag_with(flag, value):
    words, names = named(flag, value)
    # Which number is to blame, where a product of several overflows, nobody knows.
    return words, [*names, "exceeds the largest floating-point"]
