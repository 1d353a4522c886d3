"""Settings of the tests of exports."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _no_openvino_on_phones(request):
    """Verify `.tflite` files in LiteRT only: no check depends on OpenVINO, which takes seconds for each file.

    `test_tflite.py` runs it, because it compares the numbers of all runtimes.
    """
    if request.path.name == "test_tflite.py":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_segattn.export.mobile.verification.run_openvino", lambda *_: None)
        yield
