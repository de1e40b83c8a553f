from experiments.study.report.made import made
from pprs_experiments.study.report import listings
from pprs_experiments.study.report.comparing import contests


def test_variants_have_what_they_were_tuned_to():
    results = [
        made(f"c/{i}", "pprs", [0.5, 0.5], tuned=0.5, sigma=sigma, samples=4)
        for i, sigma in enumerate((0.1, 0.2, 0.4))
    ]
    results.append(made("c/0", "pprs-adam", [0.1, 0.1], tuned=0.9, sigma=0.3))
    (table,) = listings.tuned(contests(results))
    assert table.rows == (
        ("PPRS", "3", "2", "0.2 [0.1, 0.4]", "4 [4, 4]"),
        ("PPRS, filter-scaled, then Adam", "1", "1", "0.3 [0.3, 0.3]", "–"),
    )
    assert listings.tuned(contests([made("c", "gd", [1.0])])) == []


def test_what_was_run_is_counted_by_cells():
    results = [made("c", "gd", [0.1] * 3), made("c", "pprs", [0.1] * 10)]
    assert listings.ran(contests(results)).rows == (
        ("c", "pipeline time", "2", "3 or 10", "20", "0.02"),
    )


def test_hyperparameters_are_listed_for_each_method():
    found = listings.hyperparameters(contests([made("c", "gd", [0.1], momentum="nesterov")]))
    assert found.rows == (("c", "pipeline time", "GD", "lr = 0.1, momentum = nesterov"),)
