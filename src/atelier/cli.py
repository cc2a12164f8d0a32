"""The `atelier` command: each subcommand imports its role on use, so none pays for another."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

import typer

from atelier.errors import AtelierError
from atelier.settings import Settings, load

app = typer.Typer(
    help="Atelier: a self-hosted workshop for pictures and files.",
    no_args_is_help=True,
    add_completion=False,
)

blobs_app = typer.Typer(help="The blob store: copy it, say whose it is.", no_args_is_help=True)
app.add_typer(blobs_app, name="blobs")
users_app = typer.Typer(
    help="Accounts: list, invite, reset, disable, sign out.", no_args_is_help=True
)
app.add_typer(users_app, name="users")

Data = Annotated[
    Path | None, typer.Option("--data", help="Folder of everything Atelier keeps on disk.")
]
Port = Annotated[int | None, typer.Option("--port", help="Port of the HTTP API.")]
GrpcPort = Annotated[
    int | None, typer.Option("--grpc-port", help="Port of the books gRPC service.")
]
Email = Annotated[str, typer.Argument(help="The address of the account.")]
USAGE_ERROR = 2
# Whether this process is the command: only then may it execute itself anew as another user.
_IS_PROGRAM: ContextVar[bool] = ContextVar("is_program", default=False)


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"atelier {version('atelier')}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version),
]


@app.callback()
def atelier(version: Version = False) -> None:
    """Atelier: a self-hosted workshop for pictures and files."""


def main() -> None:
    """Run the command line: a usage error is one line and exit code 2, never a traceback."""
    _IS_PROGRAM.set(True)
    try:
        app()
    except AtelierError as error:
        typer.secho(f"atelier: {error.detail or error.title}", fg=typer.colors.RED, err=True)
        raise SystemExit(USAGE_ERROR) from None


@app.command()
def up(data: Data = None, port: Port = None, grpc_port: GrpcPort = None) -> None:
    """Start everything: engines, migrations, every role."""
    from atelier.up.supervisor import main as run
    from atelier.up.unprivileged import leave_root

    settings = _settings(data, port, grpc_port)
    if _IS_PROGRAM.get():
        leave_root(settings)
    raise typer.Exit(run(settings))


@app.command()
def api(data: Data = None, port: Port = None) -> None:
    """The HTTP API: answers clients, files included."""
    from atelier.roles.api import main as run

    raise typer.Exit(run(_settings(data, port)))


@app.command()
def processor(data: Data = None) -> None:
    """The image processor: renders pictures in sandboxed children."""
    from atelier.roles.processor import main as run

    raise typer.Exit(run(_settings(data)))


@app.command()
def archiver(data: Data = None) -> None:
    """The archiver: stores what the image processor made."""
    from atelier.roles.archiver import main as run

    raise typer.Exit(run(_settings(data)))


@app.command()
def relay(data: Data = None) -> None:
    """The relay: sends the outbox to the event bus, and offers lost jobs again."""
    from atelier.roles.relay import main as run

    raise typer.Exit(run(_settings(data)))


@app.command()
def grpc(data: Data = None, grpc_port: GrpcPort = None) -> None:
    """The books gRPC service."""
    from atelier.roles.grpc import main as run

    raise typer.Exit(run(_settings(data, grpc_port=grpc_port)))


@app.command()
def migrate(data: Data = None) -> None:
    """Bring the database to the newest schema."""
    from atelier.commands.migrate import main as run

    raise typer.Exit(run(_operator(data)))


@app.command()
def provision(data: Data = None) -> None:
    """Make the database's two roles: one owns and migrates the tables, the other uses them."""
    from atelier.commands.provision import main as run

    raise typer.Exit(run(_operator(data)))


@app.command()
def check(
    data: Data = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every original and compare its digest.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Repair what can be: render lost renditions again, remove orphans."
        ),
    ] = False,
) -> None:
    """Compare rows with blobs: missing, orphaned, corrupt. Exit code 1 when they disagreed."""
    from atelier.commands.check import main as run

    raise typer.Exit(run(_operator(data), deep=deep, mend=repair))


@app.command()
def renditions(
    data: Data = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Pictures that lack a size of the settings.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="All that are ready, as for another font of captions.")
    ] = False,
    per_second: Annotated[
        float | None,
        typer.Option("--per-second", min=0.01, help="Pictures queued a second, at most."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Make of stored pictures what new settings ask for, in the background; again, to go on.

    It never fills the queue: it waits for room. Exit code 130: it was interrupted.
    """
    if missing == everything:
        raise typer.BadParameter("Choose one of --missing and --all.")
    from atelier.commands.renditions import main as run

    settings = _operator(data)
    raise typer.Exit(run(settings, everything=everything, per_second=per_second, as_json=as_json))


@app.command()
def backup(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Where backups are kept; blobs that are there already are not copied again."
        ),
    ],
    data: Data = None,
    keep: Annotated[
        int | None, typer.Option("--keep", min=1, help="Remove all but the newest so many.")
    ] = None,
) -> None:
    """Back up rows and blobs as of one moment, while everything runs.

    Exit code 1 when blobs are missing or corrupt.
    """
    from atelier.commands.backup import main as run

    raise typer.Exit(run(_operator(data), folder, keep))


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="Where backups are kept.")],
    data: Data = None,
    at: Annotated[
        str | None, typer.Option("--at", help="Name of the backup; none: the newest.")
    ] = None,
) -> None:
    """Restore a backup into an empty instance that is not running."""
    from atelier.commands.backup.restore import main as run

    raise typer.Exit(run(_operator(data), folder, at))


@app.command()
def doctor(
    data: Data = None,
    role: Annotated[
        str | None,
        typer.Option("--role", help="Look at what this role needs; none: at everything."),
    ] = None,
) -> None:
    """Show every setting, where its value came from, and what can be reached."""
    from atelier.commands.doctor import main as run

    raise typer.Exit(run(_operator(data, role=role)))


@app.command()
def probe(
    data: Data = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            help="Ask this port; none: that of the instance on the data folder, else "
            "metrics_port, else port.",
        ),
    ] = None,
) -> None:
    """Ask the role on this machine whether it is ready. Exit code 0 when it is, else 1."""
    from atelier.observe.probe import run

    settings = _settings(data)
    if port:
        raise typer.Exit(run(settings.host, port))
    raise typer.Exit(
        run(settings.host, settings.metrics_port or settings.port, str(settings.data))
    )


@app.command()
def jobs(
    queue: Annotated[
        str | None, typer.Argument(help="process, bulk, store or files; none: all.")
    ] = None,
    data: Data = None,
    resend: Annotated[bool, typer.Option("--resend", help="Send the dead letters again.")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="Throw the dead letters away.")] = False,
) -> None:
    """Show the queues and their dead letters; send those again, or throw them away."""
    if resend and purge:
        raise typer.BadParameter("--resend and --purge contradict each other: choose one.")
    from atelier.commands.jobs import main as run

    raise typer.Exit(run(_operator(data), queue, resend=resend, purge=purge))


@blobs_app.command(name="copy")
def copy_blobs(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A folder or s3://bucket/prefix.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="A folder or s3://bucket/prefix.")],
    final: Annotated[
        bool, typer.Option("--final", help="Atelier is stopped, and TO is to be its store.")
    ] = False,
    data: Data = None,
) -> None:
    """Copy a whole store, comparing every copy; again, to go on after a stop.

    Exit code 1: not all is there.
    """
    from atelier.commands.blobs import copy as run

    raise typer.Exit(run(_operator(data), source, target, final=final))


@blobs_app.command(name="verify")
def verify_blobs(data: Data = None) -> None:
    """Say whether the store is this database's; one that is new becomes so.

    Exit code 2: it is another's.
    """
    from atelier.commands.ownership import verify as run

    raise typer.Exit(run(_operator(data)))


@blobs_app.command(name="adopt")
def adopt_blobs(data: Data = None) -> None:
    """Make the store this database's, whatever it holds.

    For use after a loss, or when the two were put together on purpose.
    """
    from atelier.commands.ownership import adopt as run

    raise typer.Exit(run(_operator(data)))


@users_app.command(name="list")
def list_users(data: Data = None) -> None:
    """Show every account in a line: number, address, what it may, since when, last here."""
    from atelier.commands.users import show as run

    raise typer.Exit(run(_settings(data)))


@users_app.command(name="invite")
def invite_user(
    email: Annotated[
        str | None, typer.Argument(help="Who may use it; none: whoever has the link.")
    ] = None,
    data: Data = None,
) -> None:
    """Print a link by which an account can be made: once, within seven days."""
    from atelier.commands.users import invite as run

    raise typer.Exit(run(_settings(data), email))


@users_app.command(name="reset")
def reset_user(email: Email, data: Data = None) -> None:
    """Print a link by which this user sets a new password: once, within an hour."""
    from atelier.commands.users import reset as run

    raise typer.Exit(run(_settings(data), email))


@users_app.command(name="disable")
def disable_user(email: Email, data: Data = None) -> None:
    """End every session of this user, who cannot sign in from now on; nothing is deleted."""
    from atelier.commands.users import disable as run

    raise typer.Exit(run(_settings(data), email))


@users_app.command(name="enable")
def enable_user(email: Email, data: Data = None) -> None:
    """Let this user sign in again."""
    from atelier.commands.users import enable as run

    raise typer.Exit(run(_settings(data), email))


@users_app.command(name="promote")
def promote_user(email: Email, data: Data = None) -> None:
    """Make this user an administrator."""
    from atelier.commands.users import promote as run

    raise typer.Exit(run(_settings(data), email))


@users_app.command(name="demote")
def demote_user(email: Email, data: Data = None) -> None:
    """Make this user no longer an administrator; the last one stays."""
    from atelier.commands.users import demote as run

    raise typer.Exit(run(_settings(data), email))


@users_app.command(name="sign-out")
def sign_out_user(
    email: Annotated[str | None, typer.Argument(help="The address of the account.")] = None,
    data: Data = None,
    everybody: Annotated[bool, typer.Option("--all", help="Everybody, at once.")] = False,
) -> None:
    """End every session of this user, or of everybody."""
    if (email is None) != everybody:
        raise typer.BadParameter("Name an address, or everybody by --all.")
    from atelier.commands.users import sign_out as run

    raise typer.Exit(run(_settings(data), email))


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)
def classify(context: typer.Context) -> None:
    """Classify a directory of pictures by a remote service (`atelier classify --help`)."""
    from atelier.classify.cli import main as run

    run(context.args)


def _operator(data: Path | None, role: str | None = None) -> Settings:
    """The settings of a command that ends, as the user whose data it is for."""
    from atelier.up.unprivileged import join_owner

    settings = _settings(data, role=role)
    if _IS_PROGRAM.get():
        join_owner(settings)
    return settings


def _settings(
    data: Path | None,
    port: int | None = None,
    grpc_port: int | None = None,
    role: str | None = None,
) -> Settings:
    given = {"data": data, "port": port, "grpc_port": grpc_port, "role": role}
    return load(**{name: value for name, value in given.items() if value is not None})
