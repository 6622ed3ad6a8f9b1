"""What is written for Prometheus and Grafana, tried with a Prometheus that scrapes a daemon at work."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from finetuned.metrics.catalogue import CATALOGUE
from support.ports import free_port
from support.process import Home, Sandbox, wait_for
from support.prometheus import RULES, Prometheus, promtool, scraping

DASHBOARD = json.loads(RULES.with_name("grafana-dashboard.json").read_text())
QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
#: what Grafana puts into a query
FILLED = {"$instance": ".*", "$folder": ".*", "$__rate_interval": "1m"}


def filled(query: str) -> str:
    """The query as Grafana sends it."""
    for variable, value in FILLED.items():
        query = query.replace(variable, value)
    assert "$" not in query
    return query


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, str]]:
    """A Prometheus that has scraped a daemon which learned a file, and the daemon's address."""
    root = tmp_path_factory.mktemp("scraped")
    at = f"127.0.0.1:{free_port()}"
    server = Sandbox(root)
    home = Home(root, server.url, top=f'[metrics]\nlisten = "{at}"\n[[hook]]\ncommand = ["/bin/true"]')
    home.start()
    try:
        wait_for(home.is_watched, "daemon at work")
        home.drop("otter.txt", "The otter is a mammal. It eats nine fish a day.")
        home.ended()
        with scraping(root, at) as prometheus:
            yield prometheus, at
    finally:
        home.close()
        server.close()


def text(at: str, accept: str = "text/plain") -> str:
    """What the daemon serves."""
    return httpx.get(f"http://{at}/metrics", headers={"Accept": accept}, trust_env=False).raise_for_status().text


def test_what_is_served_is_as_prometheus_wants_it(scraped: tuple[Prometheus, str]) -> None:
    """Names, units, kinds and help pass its own linter."""
    assert promtool("check", "metrics", given=text(scraped[1])) == ""


def test_both_formats_tell_the_same(scraped: tuple[Prometheus, str]) -> None:
    """Who asks for OpenMetrics gets it, with its end; the names are the same."""
    plain, open_ = text(scraped[1]), text(scraped[1], "application/openmetrics-text; version=1.0.0")
    assert open_.endswith("# EOF\n")
    names = [set(re.findall(r"^(finetuned_\w+)", said, re.MULTILINE)) for said in (plain, open_)]
    assert names[0] == names[1]


def test_every_metric_is_scraped(scraped: tuple[Prometheus, str]) -> None:
    """With the kind and the words of the catalogue, in the format that it asks for first."""
    prometheus, _ = scraped
    known = prometheus.get("metadata")
    for metric in CATALOGUE:
        (told,) = known[metric.name.removesuffix("_total")]
        assert (told["type"], told["help"]) == (metric.kind, metric.words)
    (target,) = prometheus.get("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")


@pytest.mark.parametrize(("title", "query"), QUERIES)
def test_every_panel_shows_something(scraped: tuple[Prometheus, str], title: str, query: str) -> None:
    """Its query is one, and gives a series or more of the daemon's."""
    assert scraped[0].ask(filled(query)), title


@pytest.mark.parametrize("variable", [v for v in DASHBOARD["templating"]["list"] if v["type"] == "query"])
def test_the_dashboards_variables_have_values(scraped: tuple[Prometheus, str], variable: dict[str, Any]) -> None:
    """They are labels of metrics that are there."""
    found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
    assert found
    assert all(found[2] in series["metric"] for series in scraped[0].ask(found[1]))
    assert scraped[0].ask(found[1])


def test_no_alert_fires_while_all_is_well(scraped: tuple[Prometheus, str]) -> None:
    """The rules are loaded, evaluated without an error, and silent."""
    (group,) = scraped[0].get("rules")["groups"]
    wait_for(lambda: all(r["health"] == "ok" for r in scraped[0].get("rules")["groups"][0]["rules"]), "evaluation")
    assert {rule["state"] for rule in scraped[0].get("rules")["groups"][0]["rules"]} == {"inactive"}
    assert len(group["rules"]) == RULES.read_text().count("- alert:")


def test_the_alerts_are_rules() -> None:
    """Prometheus' own check of the file finds nothing."""
    assert "SUCCESS" in promtool("check", "rules", str(RULES))


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    """The unit tests beside this file, which name every alert."""
    cases = Path(__file__).with_name("alerts.yml")
    assert "SUCCESS" in promtool("test", "rules", str(cases))
    named = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    assert named == set(re.findall(r"alertname: (\w+)\n", cases.read_text())) | {"FinetunedDown"}


def test_alerts_and_panels_use_no_metric_that_is_not_there() -> None:
    """A name that was changed would never fire, and show nothing."""
    written = RULES.read_text() + "".join(query for _, query in QUERIES)
    used = set(re.findall(r"\bfinetuned_\w+", written))
    served = {metric.name for metric in CATALOGUE}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in used} <= served
