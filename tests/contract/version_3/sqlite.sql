-- A database as version 3 of the schema made it, with tasks in every state.
CREATE TABLE definitions (
    definition TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (definition)
);
CREATE TABLE audit (
    id INTEGER NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE counters (
    queue TEXT NOT NULL,
    name TEXT NOT NULL,
    shard INTEGER NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (queue, name, shard)
)
 WITHOUT ROWID;
CREATE TABLE endings (
    minute BIGINT NOT NULL,
    queue TEXT NOT NULL,
    status TEXT NOT NULL,
    shard INTEGER NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (minute, queue, status, shard)
)
 WITHOUT ROWID;
CREATE TABLE events (
    task_id TEXT NOT NULL,
    id INTEGER NOT NULL,
    at DOUBLE NOT NULL,
    kind TEXT NOT NULL,
    path TEXT,
    data TEXT NOT NULL,
    PRIMARY KEY (task_id, id)
)
 WITHOUT ROWID;
CREATE TABLE file_uses (
    task_id TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (task_id, sha256)
)
 WITHOUT ROWID;
CREATE INDEX file_uses_by_sha256 ON file_uses (sha256);
CREATE TABLE labels (
    task_id TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (task_id, name)
)
 WITHOUT ROWID;
CREATE INDEX labels_by_value ON labels (name, value, task_id);
CREATE TABLE large_values (
    task_id TEXT NOT NULL,
    "key" TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (task_id, "key")
);
CREATE TABLE paused_queues (
    queue TEXT NOT NULL,
    PRIMARY KEY (queue)
);
CREATE TABLE schema_version (
    version INTEGER NOT NULL,
    PRIMARY KEY (version)
);
CREATE TABLE spending (
    account TEXT NOT NULL,
    period DOUBLE NOT NULL,
    begun DOUBLE NOT NULL,
    spent BIGINT NOT NULL,
    PRIMARY KEY (account, period)
)
 WITHOUT ROWID;
CREATE TABLE steps (
    task_id TEXT NOT NULL,
    path TEXT NOT NULL,
    position TEXT NOT NULL,
    status TEXT NOT NULL,
    record TEXT NOT NULL,
    output TEXT,
    output_size INTEGER,
    PRIMARY KEY (task_id, path)
);
CREATE INDEX steps_by_position ON steps (task_id, position, path);
CREATE TABLE tasks (
    task_id TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    definition TEXT NOT NULL,
    status TEXT NOT NULL,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    variables TEXT,
    variables_size INTEGER,
    created_at DOUBLE NOT NULL,
    updated_at DOUBLE NOT NULL,
    timeout DOUBLE NOT NULL,
    max_retries INTEGER NOT NULL,
    started_at DOUBLE,
    completed_at DOUBLE,
    due DOUBLE,
    ran_for DOUBLE NOT NULL,
    attempt INTEGER NOT NULL,
    retry_count INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    undo INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL,
    worker TEXT,
    outputs TEXT,
    outputs_size INTEGER,
    error TEXT,
    progress TEXT,
    external_id TEXT,
    idempotency_key TEXT,
    labels TEXT NOT NULL,
    "trigger" TEXT NOT NULL,
    format INTEGER NOT NULL,
    token TEXT,
    released TEXT,
    claimed_at DOUBLE,
    last_event INTEGER NOT NULL,
    dead INTEGER DEFAULT '0' NOT NULL,
    fingerprint TEXT,
    PRIMARY KEY (task_id),
    FOREIGN KEY(definition) REFERENCES definitions (definition),
    UNIQUE (idempotency_key)
);
CREATE INDEX tasks_by_definition ON tasks (definition);
CREATE INDEX tasks_by_due ON tasks (status, due);
CREATE INDEX tasks_by_external_id ON tasks (external_id, task_id);
CREATE INDEX tasks_by_queue ON tasks (queue, task_id);
CREATE INDEX tasks_by_status ON tasks (status, task_id);
CREATE INDEX tasks_by_workflow ON tasks (workflow_id, task_id);
CREATE INDEX tasks_dead ON tasks (task_id) WHERE dead = 1;
CREATE INDEX tasks_dead_by_queue ON tasks (queue, task_id) WHERE dead = 1;
CREATE INDEX tasks_queued ON tasks (queue, due) WHERE status = 'queued';
INSERT INTO definitions ("definition", "text") VALUES ('hash-1', 'steps: []');
INSERT INTO audit ("id", "entry") VALUES (1, '{"actor":"ann","role":"admin","action":"task.cancel","target":"cancelled","outcome":202,"detail":{},"at":1700000000.0}');
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'cancelled', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'cancelled_total', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'completed', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'completed_total', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'created_total', 0, 7);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'pending', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'queued', 0, 2);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'queued:0', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'queued:1', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'retried_total', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'running', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'waiting', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('other', 'created_total', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('other', 'dead', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('other', 'failed', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('other', 'failed_total', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('other', 'queued', 0, 0);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('other', 'queued:1', 0, 0);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('other', 'running', 0, 0);
INSERT INTO endings ("minute", "queue", "status", "shard", "number") VALUES (28333333, 'line', 'cancelled', 0, 1);
INSERT INTO endings ("minute", "queue", "status", "shard", "number") VALUES (28333333, 'line', 'completed', 0, 1);
INSERT INTO endings ("minute", "queue", "status", "shard", "number") VALUES (28333333, 'other', 'failed', 0, 1);
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('backs-off', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('backs-off', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('backs-off', 3, 1700000000.0, 'task.started', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('backs-off', 4, 1700000000.0, 'step.completed', 'a', '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('backs-off', 5, 1700000000.0, 'task.waiting', NULL, '{"attempt":2,"code":"step_failed","message":"no disk"}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('cancelled', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('cancelled', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('cancelled', 3, 1700000000.0, 'task.started', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('cancelled', 4, 1700000000.0, 'step.completed', 'a', '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('cancelled', 5, 1700000000.0, 'task.cancelled', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('dead', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('dead', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('dead', 3, 1700000000.0, 'task.started', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('dead', 4, 1700000000.0, 'step.completed', 'a', '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('dead', 5, 1700000000.0, 'task.failed', NULL, '{"attempt":1,"code":"step_failed","message":"no disk"}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('done', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('done', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('done', 3, 1700000000.0, 'task.started', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('done', 4, 1700000000.0, 'step.completed', 'a', '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('done', 5, 1700000000.0, 'task.completed', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('later', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('runs', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('runs', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('runs', 3, 1700000000.0, 'task.started', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('runs', 4, 1700000000.0, 'step.completed', 'a', '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('waits', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('waits', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('waits-keyed', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('waits-keyed', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO labels ("task_id", "name", "value") VALUES ('waits', 'team', 'shop');
INSERT INTO paused_queues ("queue") VALUES ('stopped');
INSERT INTO schema_version ("version") VALUES (3);
INSERT INTO spending ("account", "period", "begun", "spent") VALUES ('ann', 60.0, 1699999980.0, 1);
INSERT INTO steps ("task_id", "path", "position", "status", "record", "output", "output_size") VALUES ('backs-off', 'a', '0001', 'completed', '{"kind":"call","attempts":1,"tries":1,"started_at":null,"completed_at":null,"id":"a"}', '1', NULL);
INSERT INTO steps ("task_id", "path", "position", "status", "record", "output", "output_size") VALUES ('cancelled', 'a', '0001', 'completed', '{"kind":"call","attempts":1,"tries":1,"started_at":null,"completed_at":null,"id":"a"}', '1', NULL);
INSERT INTO steps ("task_id", "path", "position", "status", "record", "output", "output_size") VALUES ('dead', 'a', '0001', 'completed', '{"kind":"call","attempts":1,"tries":1,"started_at":null,"completed_at":null,"id":"a"}', '1', NULL);
INSERT INTO steps ("task_id", "path", "position", "status", "record", "output", "output_size") VALUES ('done', 'a', '0001', 'completed', '{"kind":"call","attempts":1,"tries":1,"started_at":null,"completed_at":null,"id":"a"}', '1', NULL);
INSERT INTO steps ("task_id", "path", "position", "status", "record", "output", "output_size") VALUES ('runs', 'a', '0001', 'completed', '{"kind":"call","attempts":1,"tries":1,"started_at":null,"completed_at":null,"id":"a"}', '1', NULL);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event", "dead", "fingerprint") VALUES ('backs-off', 'orders', 'hash-1', 'waiting', 'line', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, 1700000000.0, NULL, 1700000030.0, 0.0, 2, 1, 0, 0, 0, NULL, NULL, NULL, '{"code":"step_failed","message":"no disk","step":null,"path":"a","attempt":null,"retryable":true,"status":null,"retry_after":null,"traceback":null}', NULL, NULL, NULL, '{}', '{}', 1, NULL, 'suspend:A', 1700000000.0, 5, 0, NULL);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event", "dead", "fingerprint") VALUES ('cancelled', 'orders', 'hash-1', 'cancelled', 'line', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, 1700000000.0, 1700000000.0, 1700000000.0, 0.0, 1, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '{}', 1, NULL, 'finish:A', 1700000000.0, 5, 0, NULL);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event", "dead", "fingerprint") VALUES ('dead', 'orders', 'hash-1', 'failed', 'other', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, 1700000000.0, 1700000000.0, 1700000000.0, 0.0, 1, 0, 0, 0, 0, NULL, NULL, NULL, '{"code":"step_failed","message":"no disk","step":null,"path":"a","attempt":null,"retryable":true,"status":null,"retry_after":null,"traceback":null}', NULL, NULL, NULL, '{}', '{}', 1, NULL, 'finish:A', 1700000000.0, 5, 1, NULL);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event", "dead", "fingerprint") VALUES ('done', 'orders', 'hash-1', 'completed', 'line', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, 1700000000.0, 1700000000.0, 1700000000.0, 0.0, 1, 0, 0, 0, 0, NULL, '1', NULL, NULL, NULL, NULL, NULL, '{}', '{}', 1, NULL, 'finish:A', 1700000000.0, 5, 0, NULL);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event", "dead", "fingerprint") VALUES ('later', 'orders', 'hash-1', 'pending', 'line', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, NULL, NULL, 1700003600.0, 0.0, 1, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '{}', 1, NULL, NULL, NULL, 1, 0, NULL);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event", "dead", "fingerprint") VALUES ('runs', 'orders', 'hash-1', 'running', 'line', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, 1700000000.0, NULL, 1700000010.0, 0.0, 1, 0, 0, 0, 0, 'host:1', NULL, NULL, NULL, NULL, NULL, NULL, '{}', '{}', 1, 'B', NULL, 1700000000.0, 4, 0, NULL);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event", "dead", "fingerprint") VALUES ('waits', 'orders', 'hash-1', 'queued', 'line', 0, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, NULL, NULL, 1700000000.0, 0.0, 1, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"team":"shop"}', '{}', 1, NULL, NULL, NULL, 2, 0, NULL);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event", "dead", "fingerprint") VALUES ('waits-keyed', 'orders', 'hash-1', 'queued', 'line', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, NULL, NULL, 1700000000.0, 0.0, 1, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, 'x', 'k', '{}', '{}', 1, NULL, NULL, NULL, 2, 0, 'f');
