"""What a running service says about itself, as Prometheus reads it.

Nothing is counted here: every number comes from one ``ServiceStatus``, so that the metrics, ``galago
status`` and the page can never contradict each other. Which metrics there are: ``metric_table``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from galago_edge.contract.status import ServiceStatus
from galago_edge.host.extras import import_extra
from galago_edge.service.metric_table import METRICS

if TYPE_CHECKING:
    from prometheus_client.core import Metric


def render_metrics(status: ServiceStatus, accept: str = "") -> tuple[str, bytes]:
    """Return the content type and the text in the format that the header ``Accept`` asks for.

    Raises:
        DeviceError: EXTRA_MISSING; prometheus-client is not installed.
    """
    client = import_extra("prometheus_client", "metrics", "/metrics")
    exposition = import_extra("prometheus_client.exposition", "metrics", "/metrics")
    registry = client.CollectorRegistry(auto_describe=False)
    registry.register(_Collector(status))
    try:
        encode, content_type = exposition.choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number: all understand the oldest format
        encode, content_type = exposition.choose_encoder("")
    return content_type, encode(registry)


class _Collector:
    """Gives the families of one status to a registry that lives for one answer."""

    def __init__(self, status: ServiceStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Yield every family; one without series still has its name and help."""
        core = import_extra("prometheus_client.core", "metrics", "/metrics")
        for metric in METRICS:
            is_counter = metric.type == "counter"
            kind = core.CounterMetricFamily if is_counter else core.GaugeMetricFamily
            family = kind(metric.name, metric.help, unit=metric.unit)
            for labels, value in metric.read(self._status):
                family.add_sample(family.name + ("_total" if is_counter else ""), dict(labels), value)
            yield family
