"""Export for phones, browsers and boards: one verified `.tflite` file with builtin operators only."""
