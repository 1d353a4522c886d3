"""Linear support vector machines with hard negative mining, as R-CNN trains them (Girshick et al. 2014, section 2.3).

Constants are those of the authors' `rcnn_train.m`.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from keras_segattn.arguments import is_number

# Regions that overlap no object of a class by this much are its negatives.
NEGATIVE_OVERLAP = 0.3
COST, POSITIVE_WEIGHT = 1e-3, 2.0
# Value of the feature whose weight is the bias, which is regularised, too.
BIAS_SCALE = 10.0
# A new negative is hard above the first score, and an old one is forgotten below the second.
HARD, EASY = -1.0001, -1.2
# Number of new negatives after which a machine is trained again.
RETRAIN = 2000
ITERATIONS = 10_000


class Machine:
    """The support vector machine of one class, and the examples that it is trained on.

    Args:
        positives: features `(n, F)` of the objects of the class.
        cost: factor C of the errors.
        seed: seed of the solver.
    """

    def __init__(self, positives: np.ndarray, cost: float = COST, seed: int = 0) -> None:
        self.positives, self.cost, self.seed = positives, cost, seed
        self.negatives = np.zeros((0, positives.shape[1]), positives.dtype)
        self.waiting = 0
        self.trained = False
        self.kernel, self.bias = np.zeros(positives.shape[1]), 0.0

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return the scores `(n,)` of features `(n, F)`."""
        return np.asarray(features @ self.kernel + self.bias)

    def see(self, candidates: np.ndarray) -> None:
        """Keep the hard ones of some negatives `(n, F)`, all of them before the first training; train if it is time."""
        hard = candidates[self.scores(candidates) > HARD] if self.trained else candidates
        self.negatives = np.concatenate([self.negatives, hard])
        self.waiting += len(hard)
        if self.waiting and (not self.trained or self.waiting > RETRAIN):
            self.train()

    def train(self) -> None:
        """Minimise the hinge loss of the examples plus the squared weights, and forget easy negatives."""
        from sklearn.svm import LinearSVC

        solver = LinearSVC(
            C=self.cost,
            loss="hinge",
            class_weight={1: POSITIVE_WEIGHT},
            intercept_scaling=BIAS_SCALE,
            max_iter=ITERATIONS,
            random_state=self.seed,
        )
        labels = np.repeat([1, -1], [len(self.positives), len(self.negatives)])
        solver.fit(np.concatenate([self.positives, self.negatives]), labels)
        self.kernel, self.bias = solver.coef_[0], float(solver.intercept_[0])
        self.trained, self.waiting = True, 0
        self.negatives = self.negatives[self.scores(self.negatives) >= EASY]


def train_support_vectors(
    positives: Sequence[np.ndarray],
    pictures: Iterable[tuple[np.ndarray, np.ndarray]],
    *,
    cost: float = COST,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Train one support vector machine per class, in one pass over the negatives.

    Features should have a norm of about 20, for which the cost of errors was chosen.

    Args:
        positives: features `(n, F)` of the objects of each class.
        pictures: features `(n, F)` of the regions of each picture, and their largest overlaps (IoU) with an object of
            each class, `(n, classes)`.
        cost: factor C of the errors.
        seed: seed of the solver.

    Returns:
        Kernel `(F, classes)` and bias `(classes,)` of the scores, float32.

    Raises:
        ValueError: if the cost is not positive, or a class has no objects or no negatives.
        ModuleNotFoundError: if scikit-learn is not installed.

    Example:
        >>> kernel, bias = train_support_vectors(positives, zip(features, overlaps))
    """
    try:
        import sklearn.svm  # noqa: F401
    except ModuleNotFoundError as error:
        message = "support vector machines need `pip install keras-segattn[labelling]` (scikit-learn)"
        raise ModuleNotFoundError(message) from error
    if not is_number(cost) or cost <= 0:
        raise ValueError(f"cost must be a positive number, received {cost!r}")
    for label, features in enumerate(positives, start=1):
        if not len(features):
            raise ValueError(f"the pictures show no object of class {label}, whose support vector machine needs some")
    machines = [Machine(features, cost, seed) for features in positives]
    for features, overlaps in pictures:
        for machine, overlap in zip(machines, overlaps.T, strict=True):
            machine.see(features[overlap < NEGATIVE_OVERLAP])
    for label, machine in enumerate(machines, start=1):
        if not machine.trained:
            raise ValueError(f"every region overlaps an object of class {label}: there are no negatives to train on")
        if machine.waiting:
            machine.train()
    kernel = np.stack([machine.kernel for machine in machines], axis=1)
    return kernel.astype("float32"), np.array([machine.bias for machine in machines], "float32")
