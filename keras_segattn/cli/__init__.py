"""The command `segattn`: train, evaluate, use and export models, one module per command.

Nothing heavy is imported before a command needs it, so that help, completion and usage errors are quick.
"""

import typer

from keras_segattn.cli import demo, evaluate, export, models, predict, scenes, train, verify
from keras_segattn.cli.errors import run
from keras_segattn.cli.output import version

app = typer.Typer(
    name="segattn",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Segmentation and attention models for Keras 3: train, evaluate, use and export them.",
)
app.callback()(version)
app.command("list")(models.list_models)
app.command()(models.info)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(predict.predict)
app.command()(export.export)
app.command()(verify.verify)
app.command()(scenes.scenes)
app.command()(demo.demo)


def main() -> None:
    """Run the command. An expected error prints one line on standard error and ends with code 1, wrong usage with 2."""
    run(app)
