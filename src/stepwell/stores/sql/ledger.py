"""What the SQL store keeps besides tasks: counters, paused queues, accounts, the pace of queues, and the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from stepwell import lifecycle
from stepwell.stores import records
from stepwell.stores.sql.transaction import MINUTE, Transaction
from stepwell.task import ENDED, AuditEntry, Page

_PACE_MINUTES = 5
_NEWEST = 2**63 - 1


def counts(transaction: Transaction) -> Mapping[str, Mapping[str, int]]:
    """See `TaskStore.counts`."""
    found: dict[str, dict[str, int]] = {}
    for queue, name, number in transaction.session.rows(transaction.sql.ledger.counts, {}):
        found.setdefault(queue, {str(counter): 0 for counter in lifecycle.COUNTERS})[name] = int(number)
    return found


def ages(transaction: Transaction) -> Mapping[str, float]:
    """See `TaskStore.ages`."""
    now, [found] = transaction.session.look((transaction.sql.ledger.oldest, {}))
    return {queue: max(0.0, now - since) for queue, since in found if since is not None}


def pace(transaction: Transaction) -> Mapping[str, Mapping[str, int]]:
    """See `TaskStore.pace`."""
    this = int(transaction.session.now() // MINUTE)
    found: dict[str, dict[str, int]] = {}
    params = {"first": this - _PACE_MINUTES, "this": this}
    for queue, status, number in transaction.session.rows(transaction.sql.ledger.pace, params):
        found.setdefault(queue, {str(one): 0 for one in sorted(ENDED)})[status] = int(number)
    return found


def spend(transaction: Transaction, account: str, amount: int, limit: int, period: float) -> float:
    """See `TaskStore.spend`."""
    now = transaction.session.now()
    begun = now // period * period
    params = {"account": account, "period": period, "begun": begun, "spent": amount, "limit": limit}
    if amount <= limit and transaction.session.rows(transaction.sql.ledger.spend, params):
        return 0.0
    return begun + period - now


def forget_periods(transaction: Transaction, now: float) -> None:
    """Drop what no later call of `pace` or `spend` asks for."""
    sql = transaction.sql.ledger
    transaction.session.do(sql.drop_endings, {"first": int(now // MINUTE) - _PACE_MINUTES})
    transaction.session.do(sql.drop_spending, {"now": now})


def note(transaction: Transaction, entry: AuditEntry) -> None:
    """See `TaskStore.note`."""
    sql, session = transaction.sql.ledger, transaction.session
    text = records.audit_to_json(replace(entry, at=session.now()))
    [[id_]] = session.rows(sql.note, {"entry": text})
    session.do(sql.trim_audit, {"last": id_ - records.AUDIT_KEPT})


def audit(transaction: Transaction, limit: int, cursor: str | None) -> Page[AuditEntry]:
    """See `TaskStore.audit`."""
    before = _NEWEST if cursor is None else records.decode_number(cursor)
    found = transaction.session.rows(transaction.sql.ledger.audit, {"before": before, "limit": limit + 1})
    page = [records.audit_from_json(text) for _, text in found[:limit]]
    return Page(page, records.encode_cursor(str(found[limit - 1][0])) if len(found) > limit else None)
