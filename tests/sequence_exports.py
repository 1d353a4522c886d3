"""A translator of letters, `speller`, and a captioner, `describer`, with random weights, exported for servers."""

import numpy as np

from keras_segattn import export, facts_of
from keras_segattn.attention import RNNSearch, ShowAttendTell
from keras_segattn.data import Vocabulary
from keras_segattn.decoding import BeamRules

LETTERS, WORDS = Vocabulary("abcdeé"), Vocabulary(["dog", "cat", "$x$"])
RULES = BeamRules(3, 5)


def speller():
    return RNNSearch(len(LETTERS), len(WORDS), units=6, embedding=5, maxout=4, alignment=7, name="speller")


def describer():
    return ShowAttendTell(
        len(WORDS),
        backbone="squeezenet1_1",
        alpha=0.125,
        input_shape=(64, 48, 3),
        units=6,
        embedding=5,
        name="describer",
    )


class WrittenModels:
    """Models that are exported when they are first asked for, all to one folder.

    Args:
        folder: folder of the models.
    """

    def __init__(self, folder):
        self.folder, self.made = folder, {}

    def __getitem__(self, name):
        """Return the model `speller` or `describer`, and the report of its export."""
        if name not in self.made:
            build, vocabularies = {
                "speller": (speller, {"source": LETTERS, "target": WORDS}),
                "describer": (describer, {"target": WORDS}),
            }[name]
            model, random = build(), np.random.default_rng(len(name))
            for weight in model.weights:
                weight.assign(random.normal(0, 0.3, weight.shape))
            facts = facts_of(model, vocabularies=vocabularies, options=RULES)
            self.made[name] = model, export.saved_model(model, self.folder, facts=facts)
        return self.made[name]
