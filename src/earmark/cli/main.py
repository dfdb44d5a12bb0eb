"""The entry point: which commands there are, and what becomes of errors.

A command's module is imported when the command is named, and imports what it needs when it runs, so that help
and completion answer at once. Exit codes: 0 done; 1 some inputs failed (they are listed); 2 usage; 3 a gate
failed; 130 interrupted.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence

import click

from earmark.cli.options import EarmarkGroup, Invocation, common_options, debugging
from earmark.cli.output import complain
from earmark.errors import EarmarkError

__all__ = ["COMMANDS", "SUMMARIES", "cli", "main"]

# Name -> module and attribute, in the order of a project's life; `earmark --help` keeps this order.
COMMANDS = {
    "demo": "earmark.cli.demo:demo",
    "init": "earmark.cli.init:init",
    "doctor": "earmark.cli.doctor:doctor",
    "collect": "earmark.cli.task_verbs:collect",
    "migrate": "earmark.cli.task_verbs:migrate",
    "prepare": "earmark.cli.prepare:prepare",
    "label": "earmark.cli.task_verbs:label",
    "extract": "earmark.cli.extract:extract",
    "train": "earmark.cli.train:train",
    "grid": "earmark.cli.grid:grid",
    "thresholds": "earmark.cli.thresholds:thresholds",
    "evaluate": "earmark.cli.evaluate:evaluate",
    "predict": "earmark.cli.predict:predict",
    "stream": "earmark.cli.stream:stream",
    "live": "earmark.cli.task_verbs:live",
    "check": "earmark.cli.check:check",
    "store": "earmark.cli.store:store",
    "runs": "earmark.cli.runs:runs",
    "data": "earmark.cli.data:data",
    "cache": "earmark.cli.cache:cache",
    "web": "earmark.web.command:web",
    "schema": "earmark.cli.schema:schema",
}

# The first sentence of each, so that the list of commands imports none of them; a test keeps them equal.
SUMMARIES = {
    "demo": "Make data for TASK (default: zones), then prepare, extract, train, evaluate and predict, and show "
    "the report.",
    "init": "Make a folder a project: earmark.toml with every setting explained, and a .gitignore.",
    "doctor": "Check versions, codecs, trackers, cache, disk and processors, and show the settings and where each "
    "comes from.",
    "collect": "Bring raw data of TASK in: exchange streams, or recordings of a room.",
    "migrate": "Bring files of earlier programs of TASK into the store; the files stay as they are.",
    "prepare": "Read label files or folders in SOURCES, divide the items once, and seal the labels of the test set.",
    "label": "Compute labels of TASK that lie in the future of each row, into tables of their own.",
    "extract": "Compute the features of TASK for its prepared items, or for the files and folders in SOURCES.",
    "train": "Train the models of TASK on the same folds, and write a run folder for each and a report of the best.",
    "grid": "Try every combination of parameter values on the folds, and rank them.",
    "thresholds": "Choose how a run of TASK decides: calibration, costs of errors, and when it says nothing.",
    "evaluate": "Score a run of TASK and write its report.",
    "predict": "Predict files, folders, playlists and URIs in SOURCES with a run of TASK.",
    "stream": "Answer FILE as it is heard: a line every few seconds, and at the end what `predict` says of the whole.",
    "live": "Answer what is happening now: TASK on the stream of an exchange or a microphone, a line per answer.",
    "check": "Prove properties of a task on real input.",
    "store": "Look into the tables of features by date: list, show, validate, compact, restore.",
    "runs": "List, show, compare and promote runs: a run is the folder that a training leaves.",
    "data": "Show manifests, splits, and how often the test set was opened.",
    "cache": "Look into the feature cache: sizes and costs, what is stale and why, upkeep.",
    "web": "Serve pages for the project: start a training and watch it, drop a track, see a room or an exchange live.",
    "schema": "Print the JSON schema of earmark.toml, for editors that check and complete it.",
}

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_STDOUT_CLOSED = 141  # 128 + SIGPIPE, as a shell reports a writer whose reader has left
_COMPLETION_VARIABLE = "_EARMARK_COMPLETE"


def _print_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    import earmark

    click.echo(f"earmark {earmark.__version__}")
    context.exit()


@click.group(
    cls=EarmarkGroup,
    lazy=COMMANDS,
    summaries=SUMMARIES,
    params=common_options(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
def cli() -> None:
    """Train, test and run classifiers of signals: features computed once, the test set sealed.

    \b
    Examples:
      earmark demo zones                  # the whole job on generated tracks
      earmark init zones                  # start a project here
      earmark prepare zones labels.csv    # manifest, folds, sealed test set
      earmark extract zones               # features, computed once
      earmark train zones                 # models and a report
      earmark predict zones ~/Music       # what they say of new tracks
    """


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program and leave with its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments, default ``sys.argv[1:]``.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text in any encoding
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run the program with ``argv`` and return its exit code; an error becomes one message on stderr."""
    invocation = Invocation()
    try:
        return _dispatch(argv, invocation)
    except (KeyboardInterrupt, click.Abort):
        complain("Interrupted. Finished work is kept; the same command goes on from there.")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _abandon_stdout()
        return EXIT_STDOUT_CLOSED
    except click.ClickException as error:
        return _report_usage(error)
    except (EarmarkError, OSError, MemoryError) as error:
        return _report(error, invocation)
    except Exception as error:  # noqa: BLE001 (the last place that can say it in one sentence)
        return _report_bug(error, invocation)


def _dispatch(argv: Sequence[str], invocation: Invocation) -> int:
    if _COMPLETION_VARIABLE in os.environ:
        cli.main(list(argv), prog_name="earmark", complete_var=_COMPLETION_VARIABLE)
    try:
        with cli.make_context("earmark", list(argv), obj=invocation) as context:
            code = cli.invoke(context)
    except click.exceptions.Exit as leaving:
        code = leaving.exit_code
    sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _report_usage(error: click.ClickException) -> int:
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        complain(error.format_message())  # click 8.2 and newer tell by this error that nothing was asked for
        return EXIT_USAGE
    complain(f"error: {error.format_message()}")
    context = getattr(error, "ctx", None)
    if context is not None:
        complain(f"See: {context.command_path} --help")
    return EXIT_USAGE


def _report(error: BaseException, invocation: Invocation) -> int:
    _trace(error, invocation)
    complain(f"error: {_sentence(error)}")
    return error.exit_code if isinstance(error, EarmarkError) else EXIT_USAGE


def _report_bug(error: Exception, invocation: Invocation) -> int:
    _trace(error, invocation)
    complain(f"error: {type(error).__name__}: {error}")
    if not debugging(invocation):
        complain(
            "This should not happen, and is a defect of earmark. Run again with -v and report the traceback."
        )
    return EXIT_USAGE


def _sentence(error: BaseException) -> str:
    """What happened, what to do, for errors of the system that reach the top."""
    if isinstance(error, MemoryError):
        return "The memory is full. Run again with fewer --workers; finished work is kept."
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    where = f"`{error.filename}`: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}The disk is full. Free some space and run again; finished work is kept."
    if error.errno == errno.EFBIG:
        return f"{where}The limit of file sizes is reached. Raise it (ulimit -f) and run again; finished work is kept."
    return f"{where}{error.strerror}."


def _trace(error: BaseException, invocation: Invocation) -> None:
    if debugging(invocation):
        import traceback

        traceback.print_exception(error, file=sys.stderr)


def _abandon_stdout() -> None:
    """Let the interpreter's last flush go nowhere, since the reader of standard output has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
