"""Random examples in a file like that of an official data set."""

import numpy as np

EXAMPLES, FEATURES, NONZEROS = 8124, 112, 21  # of every example


def write_mushrooms(folder):
    """Random features, and labels that follow from them but for noise; gives the folder."""
    random = np.random.default_rng(0)
    chosen = random.random((EXAMPLES, FEATURES)).argsort(1)[:, :NONZEROS]
    chosen.sort(1)
    scores = random.normal(size=FEATURES)[chosen].sum(1) + 2 * random.normal(size=EXAMPLES)
    labels = 1 + (scores > np.median(scores))
    lines = (
        f"{label} {' '.join(f'{number + 1}:1' for number in row)}"
        for label, row in zip(labels, chosen, strict=True)
    )
    (folder / "libsvm").mkdir()
    (folder / "libsvm" / "mushrooms").write_text("\n".join(lines))
    return folder
