import re

from prometheus_client.parser import text_string_to_metric_families

from netgpt.telemetry.metrics import Metrics, table


def test_every_row_is_exposed_once_with_its_kind_and_help() -> None:
    families = list(text_string_to_metric_families(Metrics().render().decode()))
    shown = {family.name + ("_total" if family.type == "counter" else ""): (family.type, family.documentation) for family in families}
    assert shown == {row.name: (row.kind, row.help) for row in table()}
    assert len(families) == len(table())


def test_names_units_and_labels_follow_the_rules() -> None:
    for row in table():
        assert re.fullmatch(r"netgpt_[a-z_]+", row.name)
        assert row.name.endswith("_total") == (row.kind == "counter")
        assert row.name.endswith("_seconds") == (row.unit == "seconds")
        assert not {"request", "session", "user", "id"} & set(row.labels)
        assert bool(row.buckets) == (row.kind == "histogram")
        assert list(row.buckets) == sorted(set(row.buckets))
        assert row.help.endswith(".")


def test_values_are_shown_and_dates_of_birth_are_not() -> None:
    metrics = Metrics()
    metrics.requests.labels("auto", "stop").inc()
    metrics.time_to_first_token.labels("auto").observe(0.003)
    metrics.link_bytes.labels("edge1", "sent").inc(40)
    text = metrics.render().decode()
    assert 'netgpt_requests_total{finish_reason="stop",model="auto"} 1.0' in text
    assert 'netgpt_time_to_first_token_seconds_bucket{le="0.005",model="auto"} 1.0' in text
    assert 'netgpt_link_bytes_total{direction="sent",peer="edge1"} 40.0' in text
    assert "_created" not in text


def test_two_processes_share_nothing() -> None:
    first, second = Metrics(), Metrics()
    first.requests_running.inc()
    assert "netgpt_requests_running 1.0" in first.render().decode()
    assert "netgpt_requests_running 0.0" in second.render().decode()
