import pytest
import torch

from experiments.tasks.real import DATA, needs_data
from pprs_experiments.tasks.convex.libsvm import Contents, read_libsvm, read_svm_examples

TEXT = "-1 3:1 5:0.5 \n+1 1:1 2:-2\n-1 5:1\n"
EXPECTED = Contents(examples=3, features=5, nonzeros=5, labels=(-1, 1))


def write(folder, text):
    (folder / "x").write_text(text)
    return folder / "x"


def test_lines_become_examples_of_two_classes(tmp_path):
    read = read_libsvm(write(tmp_path, TEXT), EXPECTED)
    assert read.x.tolist() == [[0, 0, 1, 0, 0.5], [1, -2, 0, 0, 0], [0, 0, 0, 0, 1]]
    assert read.x.dtype == torch.float64
    assert read.y.tolist() == [0, 1, 0]
    assert read.classes == 2


def test_labels_1_and_2_are_two_classes_too(tmp_path):
    text = TEXT.replace("+1", "2").replace("-1 ", "1 ")
    expected = Contents(3, 5, 5, labels=(1, 2))
    assert read_libsvm(write(tmp_path, text), expected).y.tolist() == [0, 1, 0]


def refused(file, says):
    with pytest.raises(ValueError, match=says) as caught:
        read_libsvm(file, EXPECTED)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("kept", range(1, len(TEXT.rstrip())))
def test_every_truncation_is_refused(tmp_path, kept):
    file = write(tmp_path, TEXT[:kept])
    refused(file, "is damaged: expected")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected"),
        (TEXT.replace("5:1", "6:1"), "features from 1 to 5, found"),
        (TEXT.replace("1:1", "0:1"), "features from 1 to 5, found"),
        (TEXT.replace("1:1", "0:1").replace("5:", "4:"), "features from 1 to 5, found"),
        (TEXT.replace("5:1", "5:x"), "expected LIBSVM text"),
        (TEXT.replace("5:1", "99999999999999999999:1"), "expected LIBSVM text"),
        (TEXT.replace("5:1", "5:nan"), "expected 5 finite features, found 4"),
        (TEXT.replace("+1", "+2"), "expected the labels -1 and 1, found 2"),
        (TEXT.replace("5:0.5", ""), "expected 5 non-zero features, found 4"),
        (TEXT + "-1 5:1\n", "expected 3 examples, found 4"),
    ],
)
def test_damage_is_named_with_what_was_expected_and_found(tmp_path, text, says):
    refused(write(tmp_path, text), says)


def test_a_missing_file_and_another_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot read .*libsvm/a9a.*data_dir must name the folder"):
        read_svm_examples("a9a", tmp_path)
    with pytest.raises(ValueError, match="data must be a9a or mushrooms, got 'iris'"):
        read_svm_examples("iris", tmp_path)


def test_a_file_of_an_official_name_must_be_whole(tmp_path):
    (tmp_path / "libsvm").mkdir()
    (tmp_path / "libsvm" / "a9a").write_text("-1 3:1\n+1 4:1\n")
    with pytest.raises(ValueError, match="libsvm/a9a is damaged: expected 32561 examples, found 2"):
        read_svm_examples("a9a", tmp_path)


@needs_data
@pytest.mark.parametrize(
    ("name", "shape", "sizes"),
    [("a9a", (32561, 123), [24720, 7841]), ("mushrooms", (8124, 112), [3916, 4208])],
)
def test_the_official_files_are_read(name, shape, sizes):
    read = read_svm_examples(name, DATA)
    assert read.x.shape == shape
    assert read.y.bincount().tolist() == sizes
    assert set(read.x.unique().tolist()) == {0.0, 1.0}
