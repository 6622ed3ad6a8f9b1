"""Which backend a folder's jobs go to, and which one a job is at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from finetuned.model import Attempt, FolderFacts, Job
from finetuned.settings import BACKENDS, FolderSettings, Settings


def urls(folders: Iterable[FolderFacts], rules: Settings) -> dict[str, str]:
    """Tell by folder the url of the backend that learns what is new in it; under "" that of a folder nobody knows.

    Of a folder that is in no configuration any more its former rules tell.
    """
    at = {kind: rules.service_for(kind).url for kind in BACKENDS}
    kinds = {folder.name: folder.backend or rules.backend.kind for folder in folders}
    kinds |= {each.name: rules.kind_of(each) for each in rules.folders}
    return {name: at[kind] for name, kind in kinds.items() if kind in at} | {"": at[rules.backend.kind]}


def wanted(folders: Iterable[FolderSettings], attempts: Iterable[Attempt], rules: Settings) -> set[str]:
    """Tell the urls of all backends that are needed: those that these folders go to, and those of these attempts."""
    return {rules.service_for(rules.kind_of(each)).url for each in folders} | {attempt.url for attempt in attempts}


def url_of(job: Job, urls: Mapping[str, str]) -> str:
    """Tell the url of the backend that a job is at, or goes to.

    An attempt that is open stays where it was begun, whatever its folder's rules say now.
    """
    attempt = job.open
    return urls.get(job.folder, urls[""]) if attempt is None else attempt.url
