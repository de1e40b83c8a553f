import pytest

from experiments.study.small import small_cell
from experiments.study.tasks.drawn import write_mushrooms
from pprs_experiments.study.data import check_data, needs_data
from pprs_experiments.study.tasks import FewShotTask
from pprs_experiments.study.tasks.linear import MaximumOfLinearTask
from pprs_experiments.study.tasks.svm import SvmTask

MUSHROOMS = small_cell(task=SvmTask(data="mushrooms", examples=10, depth=2))
FASHION = small_cell(task=FewShotTask(data="fashion-mnist"))
BUNDLED = [
    small_cell(task=FewShotTask(data="digits")),
    small_cell(task=MaximumOfLinearTask(functions=5, dimension=2, depth=2)),
]


def test_only_data_sets_that_come_with_no_package_are_needed():
    assert [needs_data(cell) for cell in (MUSHROOMS, FASHION, *BUNDLED)] == [
        True,
        True,
        False,
        False,
    ]
    check_data(BUNDLED, None)


def test_a_folder_need_hold_no_more_than_the_cells_need(tmp_path):
    write_mushrooms(tmp_path)
    check_data([MUSHROOMS, *BUNDLED], tmp_path)
    with pytest.raises(ValueError, match=r"cannot read .* folder that holds fashion-mnist/"):
        check_data([MUSHROOMS, FASHION], tmp_path)


def test_a_damaged_file_is_found_before_any_work(tmp_path):
    file = write_mushrooms(tmp_path) / "libsvm" / "mushrooms"
    file.write_text(file.read_text().replace(":1", ":x", 1))
    with pytest.raises(ValueError, match=f"{file}"):
        check_data([MUSHROOMS], tmp_path)


def test_a_cell_that_needs_data_needs_a_folder():
    with pytest.raises(
        ValueError, match="^mushrooms is needed: name the folder .* with --data-dir"
    ):
        check_data([MUSHROOMS], None)
