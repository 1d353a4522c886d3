"""Models for phones, browsers and boards: one `.tflite` of builtin operators, verified."""
