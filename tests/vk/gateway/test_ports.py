"""Which port comes next, with a clock that the test turns."""

from __future__ import annotations

from interlink_vk.gateway.ports import Ports


def test_ports_come_in_turn_and_rest_after_use() -> None:
    now = 0.0
    ports = Ports(100, 102, rest=600, clock=lambda: now)
    given = []
    for _ in range(3):
        port = next(ports.candidates())
        ports.take(port)
        given.append(port)
    assert sorted(given) == [100, 101, 102]
    assert list(ports.candidates()) == []
    ports.free(given[1])
    now = 599
    assert list(ports.candidates()) == []
    now = 600
    assert list(ports.candidates()) == [given[1]]


def test_a_port_that_cannot_be_bound_is_passed_over() -> None:
    ports = Ports(100, 102, rest=600, clock=lambda: 0)
    candidates = ports.candidates()
    next(candidates)
    second = next(candidates)
    ports.take(second)
    assert next(ports.candidates()) != second


def test_the_range_is_inclusive() -> None:
    ports = Ports(100, 102, rest=0, clock=lambda: 0)
    assert [port in ports for port in (99, 100, 102, 103)] == [False, True, True, False]
