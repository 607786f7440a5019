"""The directory of one job: what the pod mounts, before and after the job.

``files(...)`` is pure: it says which files a pod's volumes hold. ``JobDirectory``
writes them, private to the account (directories 0700, files 0600), and removes what
is secret once the job is over. It must not know schedulers or runtimes.
"""

from __future__ import annotations

import base64
import binascii
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from .api.errors import ApiError, InvalidRequestError
from .api.kubernetes import JSON, Container, Pod, Volume
from .api.messages import CreateRequest

VOLUMES: Final = "volumes"
_SECRET_PARTS: Final = (VOLUMES, "run")
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


@dataclass(frozen=True, slots=True)
class File:
    """The content of one file and whether it may be executed."""

    data: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a container expects a volume, and where it is below the job directory."""

    mount_path: str
    path: PurePosixPath


class JobDirectory:
    """One job's directory; it exists whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, files: Mapping[str, File], directories: Iterable[str]) -> None:
        """Make the directory at once; a leftover of an earlier try is replaced.

        Raises:
            ApiError: the disk refused, with its reason.
        """
        draft = self.path.with_name(f".{self.path.name}")
        try:
            for old in (draft, self.path):
                shutil.rmtree(old, ignore_errors=True)
            _private(draft)
            for directory in directories:
                _private(draft / directory)
            for name, file in files.items():
                _private((draft / name).parent)
                (draft / name).touch(mode=0o700 if file.executable else 0o600)
                (draft / name).write_bytes(file.data)
            draft.rename(self.path)
        except OSError as error:
            raise ApiError(
                f"The sidecar cannot write {self.path}: {error.strerror}."
                " Its administrator should check space and permissions there.",
                reason="StagingFailed",
            ) from error

    def scrub(self) -> None:
        """Remove what may hold secrets; logs and what happened stay.

        Raises:
            ApiError: something of it is still there.
        """
        for part in _SECRET_PARTS:
            _remove(self.path / part)

    def remove(self) -> None:
        """Remove everything; a directory that is gone is a success.

        Raises:
            ApiError: something of it is still there.
        """
        _remove(self.path)

    def read(self, name: str) -> str | None:
        """A small file of it, or None where there is none.

        Raises:
            ApiError: nobody can say what is there.
        """
        try:
            return (self.path / name).read_text(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ApiError(
                f"The sidecar cannot read {self.path / name}: {error.strerror}."
                " Its administrator should check the permissions there.",
                reason="Unreadable",
                status=503,
            ) from error


def _remove(path: Path) -> None:
    """Remove as much as possible of a directory, and see that it is gone."""
    shutil.rmtree(path, ignore_errors=True)
    why = "something in it could not be removed"
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        why = str(error.strerror)
    raise ApiError(
        f"The sidecar cannot remove {path}: {why}."
        " Its administrator should check the permissions there.",
        reason="NotRemoved",
    )


def _private(directory: Path) -> None:
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700)


def _mounted(pod: Pod) -> list[Volume]:
    """The volumes that some container mounts; any other is legal and means nothing."""
    containers = (*pod.spec.init_containers, *pod.spec.containers)
    names = {mount.name for each in containers for mount in each.volume_mounts}
    return [volume for volume in pod.spec.volumes if volume.name in names]


def volume_directories(pod: Pod) -> list[str]:
    """A directory for each mounted volume, an empty one too."""
    return [f"{VOLUMES}/{volume.name}" for volume in _mounted(pod)]


def volume_files(pod: Pod, request: CreateRequest) -> dict[str, File]:
    """The files of all mounted volumes, by their path below the job directory.

    Raises:
        InvalidRequestError: for a kind of volume that a job cannot have, for an
            object that was not sent along, for a path that leaves the volume.
    """
    objects = _Objects(request)
    return {
        f"{VOLUMES}/{volume.name}/{path}": file
        for volume in _mounted(pod)
        for path, file in _content(pod, volume, objects)
    }


def mounts(pod: Pod, container: Container) -> list[Mount]:
    """Where each mount of a container is below the job directory."""
    volumes = {volume.name for volume in pod.spec.volumes}
    found = []
    for mount in container.volume_mounts:
        where = f"mountPath {mount.mount_path!r} of container {container.name!r}"
        if mount.name not in volumes:
            raise InvalidRequestError(
                f"The {where} names volume {mount.name!r}, which the pod has not."
            )
        path = PurePosixPath(mount.mount_path)
        if not path.is_absolute() or path == PurePosixPath("/") or ".." in path.parts:
            raise InvalidRequestError(f"The {where} is not an absolute path below /.")
        inside = PurePosixPath(VOLUMES, mount.name)
        if mount.sub_path:
            inside /= _relative(mount.sub_path, f"subPath of the {where}")
        found.append(Mount(str(path), inside))
    return found


class _Objects:
    """The ConfigMaps and Secrets of a request as key to content, by name."""

    def __init__(self, request: CreateRequest) -> None:
        entries = request.container
        self.config_maps = {
            _name(item): item for entry in entries for item in entry.config_maps
        }
        self.secrets = {
            _name(item): item for entry in entries for item in entry.secrets
        }
        self.projected = {
            _name(item): item
            for entry in entries
            for item in entry.projected_volume_maps
        }


def _content(pod: Pod, volume: Volume, objects: _Objects) -> Iterator[tuple[str, File]]:
    """The files of one volume, by their path inside it."""
    if volume.config_map is not None:
        source, name = volume.config_map, str(volume.config_map.get("name", ""))
        found = _find(objects.config_maps, name, source, f"ConfigMap {name!r}")
        yield from _items(volume, source, _config_map(found))
    elif volume.secret is not None:
        source, name = volume.secret, str(volume.secret.get("secretName", ""))
        found = _find(objects.secrets, name, source, f"Secret {name!r}")
        yield from _items(volume, source, _secret(found))
    elif volume.projected is not None or volume.downward_api is not None:
        what = f"projected volume {volume.name!r}"
        found = _find(objects.projected, volume.name, {}, what)
        for path, data in _config_map(found).items():
            yield str(_relative(path, f"a path of {what}")), File(data)
    elif volume.empty_dir is None:
        extra = volume.model_dump(by_alias=True, exclude_none=True)
        kind = next((key for key in extra if key != "name"), "no source")
        raise InvalidRequestError(
            f"Volume {volume.name!r} of pod {pod.key} is of kind {kind}, which a job at"
            " this site cannot have. Use configMap, secret, projected or emptyDir.",
            reason="UnsupportedVolume",
        )


def _items(
    volume: Volume, source: JSON, data: Mapping[str, bytes]
) -> Iterator[tuple[str, File]]:
    """``items`` choose and rename keys; without them each key is a file."""
    default = int(source.get("defaultMode") or 0)
    chosen = source.get("items") or [{"key": key, "path": key} for key in sorted(data)]
    for item in chosen:
        key = str(item.get("key", ""))
        if key not in data:
            if source.get("optional"):
                continue
            raise InvalidRequestError(f"Volume {volume.name!r} has no key {key!r}.")
        path = _relative(str(item.get("path", "")), f"a path of volume {volume.name!r}")
        mode = int(item.get("mode") or default)
        yield str(path), File(data[key], executable=bool(mode & 0o111))


def _find(objects: Mapping[str, JSON], name: str, source: JSON, what: str) -> JSON:
    if name in objects:
        return objects[name]
    if source.get("optional"):
        return {}
    raise InvalidRequestError(f"The pod mounts {what}, which was not sent with it.")


def _config_map(document: JSON) -> dict[str, bytes]:
    text = document.get("data") or {}
    return {
        **{key: str(value).encode() for key, value in text.items()},
        **_decoded(document.get("binaryData") or {}, document),
    }


def _secret(document: JSON) -> dict[str, bytes]:
    text = document.get("stringData") or {}
    return {
        **_decoded(document.get("data") or {}, document),
        **{key: str(value).encode() for key, value in text.items()},
    }


def _decoded(data: JSON, document: JSON) -> dict[str, bytes]:
    for key in data:
        if not _KEY.fullmatch(key):
            raise InvalidRequestError(f"{_name(document)!r} has an invalid key {key!r}")
    try:
        return {
            key: base64.b64decode(value or "", validate=True)
            for key, value in data.items()
        }
    except (binascii.Error, TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"{_name(document)!r} holds data that is not base64."
        ) from error


def _name(document: JSON) -> str:
    return str((document.get("metadata") or {}).get("name", ""))


def _relative(text: str, what: str) -> PurePosixPath:
    path = PurePosixPath(text)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in text:
        raise InvalidRequestError(f"{what} is {text!r}, which leaves its volume.")
    return path
