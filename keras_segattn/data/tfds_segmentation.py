"""Segmentation sets of TensorFlow Datasets."""

from os import PathLike

import tensorflow as tf

from keras_segattn.data.pictures import ELEMENT_SPEC


def tfds_segmentation(
    name: str, split: str, *, data_dir: str | PathLike[str] | None = None, label_offset: int = 0
) -> tf.data.Dataset:
    """Any prepared TFDS set with the features `image` and `segmentation_mask`. Nothing is downloaded.

    Args:
        name: of the set, as for `tfds.load`, such as `"oxford_iiit_pet"`.
        split: such as `"train"` or `"test[:10%]"`.
        data_dir: where the set was prepared; TFDS's default if `None`.
        label_offset: added to every label but 255; `-1` for sets that count from 1 (oxford_iiit_pet).

    Returns:
        Data set with the features of `keras_segattn.data`; `file_name` is `"<split>_<number>"` where the set has none.

    Raises:
        FileNotFoundError: if the set is not prepared in `data_dir`.
        ValueError: if the set lacks one of the two features, or does not exist.

    Example:
        >>> pets = tfds_segmentation("oxford_iiit_pet", "train", label_offset=-1)
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir, try_gcs=False)
        dataset = builder.as_dataset(split=split, shuffle_files=False)
    except tfds.core.DatasetNotFoundError as error:
        raise ValueError(f"TensorFlow Datasets knows no set {name!r}") from error
    except AssertionError as error:  # TFDS asserts that the set is prepared
        raise FileNotFoundError(
            f"{name!r} is not prepared in {data_dir or 'the default data folder'}: run `tfds build {name}`"
        ) from error
    missing = {"image", "segmentation_mask"} - set(builder.info.features)
    if missing:
        raise ValueError(f"{name!r} lacks the features {sorted(missing)}; it has {sorted(builder.info.features)}")

    def features(index: tf.Tensor, example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        mask = example["segmentation_mask"]
        if label_offset:
            shifted = tf.cast(tf.cast(mask, tf.int32) + label_offset, mask.dtype)
            mask = tf.where(mask == 255, mask, shifted)
        found = {
            "image": example["image"],
            "segmentation_mask": mask,
            "file_name": example.get("file_name", tf.strings.join([split, tf.strings.as_string(index)], "_")),
        }
        return {key: tf.ensure_shape(value, ELEMENT_SPEC[key].shape) for key, value in found.items()}

    return dataset.enumerate().map(features, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
