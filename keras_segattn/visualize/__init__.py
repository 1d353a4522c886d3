"""Pictures: masks, instances and attention over images, alignments, confusion matrices, curves.

Nothing here touches pyplot's global state.
"""

from keras_segattn.visualize.attention import alignment, attended_words
from keras_segattn.visualize.charts import Panel, confusion_matrix, line_charts, training_curves
from keras_segattn.visualize.colours import palette
from keras_segattn.visualize.figure import save
from keras_segattn.visualize.instances import draw_instances
from keras_segattn.visualize.masks import overlay, side_by_side
from keras_segattn.visualize.panels import panels

__all__ = [
    "Panel",
    "alignment",
    "attended_words",
    "confusion_matrix",
    "draw_instances",
    "line_charts",
    "overlay",
    "palette",
    "panels",
    "save",
    "side_by_side",
    "training_curves",
]
