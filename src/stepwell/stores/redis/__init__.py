"""A task store in Redis. All keys begin with the namespace:

    task:<id>                list: request (JSON), state (JSON array of `forms.FIELDS`; in further lines step records,
                             while they are few and short), then the events; the id of an event is its place
    steps:<id>               hash: path → record, of a task with more of them; order:<id> is the index of their pages,
                             from 101 records on
    values:<id>              hash: JSON texts stored apart; files:<id> is the set of files that the task refers to
    mail:<id>                list: messages, whose ids are their places; mail_index:<id> is a hash: name or key → id
    list:<status>:<queue>    root tasks in order of their ids; so are workflow:<id>, external:<id>, label:<name> NUL
                             <value> and dead:<queue>. A list of all is merged from those of states and queues
    child:<status>:<queue>   the same of child tasks, which only their own parent lists: children:<id> holds them by
                             place and index
    crews:<id>               hash: path → the numbers of a crew; crew:<id> NUL <path> holds its children that may still
                             be cancelled: with their index as the score those that are held, others with -1
    queued:<priority>:<queue>, running:<queue>, asleep, ended
                             timers: tasks by since when they are queued, when their lease ends, when they wake, when
                             they ended (roots only). Lengths of lists and timers are the counters of tasks
    totals, paused           hash: <queue> NUL <counter> → number, and the version of this layout; set of queues.
                             An ended task is in a total when it leaves its state, until then its list counts it
    published:<name>         stream of publications; deliveries is a stream of all of them, with their names only, from
                             which groups of consumers get them. Both go with time
    topic:<topic>            the tasks that listen, by the number of the last publication that they have read
    publications, publication_keys
                             hashes: <name> NUL <counter> → number; key → name and number
    definitions, definition_uses, files, keys
                             hashes: snapshots and how many tasks use each; uses of files; idempotency key → task
    pace:<minute>, spent:<period>:<account>, audit
                             endings of a minute and accounts, which expire by themselves; the audit log, a stream

The task is a list and not a hash, as a hash of values longer than 64 bytes weighs twice as much. `lua/lifecycle.lua` is
the second spelling of `stepwell.lifecycle`; `lua/save.lua` keeps all of the above in step with it. A script never
decodes JSON of users, and its loops are bounded by its arguments.
"""

from stepwell.stores.redis.scripts import SILENT
from stepwell.stores.redis.store import RedisStore

__all__ = ["SILENT", "RedisStore"]
