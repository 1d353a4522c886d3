"""Image classifiers, which are also the backbones of other architectures."""

from keras_segattn.classification.alexnet import AlexNet, CaffeNet
from keras_segattn.classification.efficientnet_lite import EfficientNetLite0
from keras_segattn.classification.googlenet import GoogLeNet
from keras_segattn.classification.inception_resnet_v1 import InceptionResNetV1
from keras_segattn.classification.inception_resnet_v2 import InceptionResNetV2
from keras_segattn.classification.inception_v4 import InceptionV4
from keras_segattn.classification.resnet import ResNet18, ResNet34, ResNet50, ResNet101, ResNet152
from keras_segattn.classification.squeezenet import SqueezeNet1_1
from keras_segattn.classification.vgg import VGG16, VGG19
