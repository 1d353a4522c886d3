"""Networks that find every object and its pixels."""

from keras_segattn.instances.mask_rcnn import MaskRCNN
from keras_segattn.instances.mnc import MNC
from keras_segattn.instances.rcnn import RCNN
from keras_segattn.instances.settings import Anchors, Cascade, DetectionRules, ProposalRules, Widths
