"""Mistakes in data and labels are said in a sentence that leads to the place and to the way out."""

import re

import pytest
from training.mistakes import GOOD, refusal, settings

from pprs.training.check import check


@pytest.mark.parametrize(
    ("returned", "way"),
    [
        ("DataLoader(TensorDataset(X, Y), 5)", r"got a DataLoader: return its data set, loader\."),
        ("Stream()", r"got a Stream: return one with items by number"),
        ("[X, Y]", r"got tensors: wrap them, torch.utils.data.TensorDataset\(x, y\)"),
        ("X.numpy(), Y.numpy()", r"TensorDataset\(torch.from_numpy\(x\), torch.from_numpy\(y\)\)"),
        ("X.numpy()", r"got a ndarray: wrap them, .*from_numpy"),
        ("(X, Y), (X, Y)", r"got tensors as the training data: wrap them"),
        (
            "TensorDataset(X, Y), (X.numpy(), Y.numpy())",
            r"got a tuple as the validation data: wrap",
        ),
        ("{'train': [1], 'test': [2]}", r"got a dict: return \(data\['train'\], data\['test'\]\)"),
        ("DataFrame()", r"got a DataFrame: wrap them, .*\.to_numpy\(\)"),
        ("[{'x': X[0], 'label': 1}] * 3", r"got the keys 'x', 'label': rename 'label'"),
        ("'digits'", r"got a str: load it"),
    ],
)
def test_data_of_another_kind_are_named_with_what_to_return(workplace, returned, way):
    assert re.search(way, refusal(workplace, f"\ndef data():\n    return {returned}\n"))


@pytest.mark.parametrize(
    ("layers", "examples", "said"),
    [
        (
            "nn.Linear(4, 5), nn.Linear(6, 3)",
            "X",
            r'layer "1" \(Linear 6->3\) expects 6 feat.*got 5',
        ),
        ("nn.Linear(4, 3)", "X.double()", r'"0" \(Linear 4->3\) has float32 .* got float64: give'),
        ("nn.Linear(4, 3)", "Y[:, None].expand(-1, 4)", r"has float32 .* got int64: .*\.float\(\)"),
        ("nn.Linear(4, 3).bfloat16()", "X", r"has bfloat16 .* got float32: .*\.bfloat16\(\) does"),
        ("nn.Embedding(1, 3)", "Y", r'"0" \(Embedding\) has rows for the numbers 0 to 0, got 1'),
        ("nn.Embedding(2, 3)", "X[:, 0]", r"\(Embedding\) expects whole numbers \(int64\), got"),
        (
            "nn.Sequential(nn.LayerNorm(7))",
            "X",
            r'"0\.0" \(LayerNorm\) expects .*\(\.\.\., 7\), got',
        ),
        ("nn.Conv2d(3, 8, 3)", "X", r"\(Conv2d\) expects .* \(m, 3, height, width\), got \(2, 4\)"),
        ("nn.Linear(4, 8), nn.GRU(7, 3)", "X", r'layer "1" \(GRU\) failed on \(2, 8\) float32: Ru'),
    ],
)
def test_the_layer_that_does_not_take_the_inputs_is_named(workplace, layers, examples, said):
    source = f"""
def model():
    return nn.Sequential({layers})

def data():
    return TensorDataset({examples}[:3], Y[:3])
"""
    assert re.search(said, refusal(workplace, source))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("Y.float()", r"needs the numbers of classes.*: y\.long\(\) may give them"),
        ("nn.functional.one_hot(Y, 3).float()", r"y\.argmax\(1\) may give them"),
        ("Y[:, None]", r"needs targets of shape \(2,\).*: y.squeeze\(-1\) has it"),
        (
            "Y + 1",
            r"item 2 of the training data has the label 3, but .* from 0 to 2, the 3 classes",
        ),
        ("torch.where(Y == 2, -1, Y)", r"item 2 of the training data has the label -1"),
    ],
)
def test_labels_that_are_no_classes_are_named(workplace, labels, said):
    source = f"\ndef data():\n    return TensorDataset(X, {labels})\n"
    assert re.search(said, refusal(workplace, source))


def test_classes_that_come_second_are_told_to_come_last(workplace):
    source = """
def model():
    return nn.Conv1d(1, 3, 1)

def data():
    return TensorDataset(X[:, None], torch.zeros(10, 4).long())
"""
    said = refusal(workplace, source)
    assert said.endswith("classes: classes come last here, as outputs.movedim(1, -1) has them")


def test_labels_of_any_whole_numbers_are_right(workplace):
    kinds = ("int8", "uint8", "int16", "int32")
    for kind in kinds:
        source = f"\ndef data_{kind}():\n    return TensorDataset(X, Y.to(torch.{kind}))\n"
        workplace.write_text((workplace.read_text() if workplace.exists() else GOOD) + source)
    for kind in kinds:
        check(settings(data=f"mine.py:data_{kind}"))


COPIES = "the labels are the model's inputs, token for token, and are not shifted"


def test_labels_that_are_the_inputs_are_told(workplace, capsys):
    workplace.write_text(GOOD)
    reader = {"model": "mine.py:reader", "data": "mine.py:tokens"}
    check(settings(**reader))
    assert f"pprs: warning: {COPIES}" in capsys.readouterr().err
    check(settings(**reader, shift_labels=True))
    check(settings())
    assert capsys.readouterr().err == ""


def test_labels_are_shifted_only_where_they_are_of_tokens(workplace):
    said = refusal(workplace, "", shift_labels=True)
    assert (
        "labels of tokens, whole numbers of shape (m, tokens): those of data are (2,) int64" in said
    )
    with pytest.raises(ValueError, match="shift_labels is for cross-entropy, got mse"):
        settings(loss="mse", shift_labels=True)


@pytest.mark.parametrize(("seed", "right"), [("", False), ("0", True)])
def test_data_that_no_seed_reaches_are_refused(workplace, seed, right):
    source = f"""
class Drawn:
    def __init__(self):
        self.own = np.random.default_rng({seed})
    def __len__(self):
        return 8
    def __getitem__(self, i):
        return self.own.normal(size=4).astype("float32"), i % 3

def data():
    return Drawn()
"""
    if right:
        workplace.write_text(GOOD + source)
        check(settings())
    else:
        assert "so each process would read others: seed their own" in refusal(workplace, source)
        check(settings(stages=1))
