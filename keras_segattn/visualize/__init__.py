"""Pictures of masks, instances, attention, alignments, spatial transformers, confusion matrices and curves; animations.

Nothing in this package changes pyplot's global state.
"""

from keras_segattn.visualize.animation import save_animation
from keras_segattn.visualize.attention import alignment, attended_words
from keras_segattn.visualize.charts import Panel, confusion_matrix, line_charts, training_curves
from keras_segattn.visualize.colours import palette
from keras_segattn.visualize.figure import save
from keras_segattn.visualize.grid import image_grid
from keras_segattn.visualize.instances import draw_instances
from keras_segattn.visualize.masks import background_of, overlay, side_by_side
from keras_segattn.visualize.number_images import class_image, instance_image
from keras_segattn.visualize.panels import panels
from keras_segattn.visualize.transformations import sampled_grid, transformer_panels
from keras_segattn.visualize.transformer_frames import TransformerFrames

__all__ = [
    "Panel",
    "TransformerFrames",
    "alignment",
    "attended_words",
    "background_of",
    "class_image",
    "confusion_matrix",
    "draw_instances",
    "image_grid",
    "instance_image",
    "line_charts",
    "overlay",
    "palette",
    "panels",
    "sampled_grid",
    "save",
    "save_animation",
    "side_by_side",
    "training_curves",
    "transformer_panels",
]
