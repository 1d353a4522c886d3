"""A translator of letters and a captioner, with random weights, exported for servers."""

import numpy as np

from keras_segattn import export, facts_of
from keras_segattn.attention import RNNSearch, ShowAttendTell
from keras_segattn.data import Vocabulary
from keras_segattn.decoding import BeamRules

LETTERS, WORDS = Vocabulary("abcdeé"), Vocabulary(["dog", "cat", "$x$"])
RULES = BeamRules(3, 5)


def write(folder):
    """Export the models; return `{"folder", "speller": (model, report), "describer": (model, report)}`."""
    random = np.random.default_rng(0)
    speller = RNNSearch(len(LETTERS), len(WORDS), units=6, embedding=5, maxout=4, alignment=7, name="speller")
    describer = ShowAttendTell(
        len(WORDS),
        backbone="squeezenet1_1",
        alpha=0.125,
        input_shape=(64, 48, 3),
        units=6,
        embedding=5,
        name="describer",
    )
    for model in (speller, describer):
        for weight in model.weights:
            weight.assign(random.normal(0, 0.3, weight.shape))
    vocabularies = {"source": LETTERS, "target": WORDS}
    reports = [
        export.saved_model(
            model,
            folder,
            facts=facts_of(model, vocabularies={name: vocabularies[name] for name in names}, options=RULES),
        )
        for model, names in ((speller, ("source", "target")), (describer, ("target",)))
    ]
    return {"folder": folder, "speller": (speller, reports[0]), "describer": (describer, reports[1])}
