-- A database as version 2 of the schema made it, with tasks in every state but `waiting`.
CREATE TABLE counters (
    queue TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    shard INTEGER NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (queue, name, shard)
);
CREATE TABLE definitions (
    definition TEXT COLLATE "C" NOT NULL,
    text TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (definition)
);
CREATE TABLE events (
    task_id TEXT COLLATE "C" NOT NULL,
    id INTEGER NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C",
    data TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (task_id, id)
);
CREATE TABLE file_uses (
    task_id TEXT COLLATE "C" NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (task_id, sha256)
);
CREATE INDEX file_uses_by_sha256 ON file_uses (sha256);
CREATE TABLE labels (
    task_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (task_id, name)
);
CREATE INDEX labels_by_value ON labels (name, value, task_id);
CREATE TABLE large_values (
    task_id TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    text TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (task_id, key)
);
CREATE TABLE schema_version (
    version INTEGER NOT NULL,
    PRIMARY KEY (version)
);
CREATE TABLE steps (
    task_id TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    position TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    record TEXT COLLATE "C" NOT NULL,
    output TEXT COLLATE "C",
    output_size INTEGER,
    PRIMARY KEY (task_id, path)
);
CREATE INDEX steps_by_position ON steps (task_id, position, path);
CREATE TABLE tasks (
    task_id TEXT COLLATE "C" NOT NULL,
    workflow_id TEXT COLLATE "C" NOT NULL,
    definition TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    queue TEXT COLLATE "C" NOT NULL,
    priority INTEGER NOT NULL,
    variables TEXT COLLATE "C",
    variables_size INTEGER,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    timeout DOUBLE PRECISION NOT NULL,
    max_retries INTEGER NOT NULL,
    started_at DOUBLE PRECISION,
    completed_at DOUBLE PRECISION,
    due DOUBLE PRECISION,
    ran_for DOUBLE PRECISION NOT NULL,
    attempt INTEGER NOT NULL,
    retry_count INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    undo INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL,
    worker TEXT COLLATE "C",
    outputs TEXT COLLATE "C",
    outputs_size INTEGER,
    error TEXT COLLATE "C",
    progress TEXT COLLATE "C",
    external_id TEXT COLLATE "C",
    idempotency_key TEXT COLLATE "C",
    labels TEXT COLLATE "C" NOT NULL,
    trigger TEXT COLLATE "C" NOT NULL,
    format INTEGER NOT NULL,
    token TEXT COLLATE "C",
    released TEXT COLLATE "C",
    claimed_at DOUBLE PRECISION,
    last_event INTEGER NOT NULL,
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
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'cancelled', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'cancelled_total', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'completed', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'completed_total', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'failed', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'failed_total', 0, 2);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'pending', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'queued', 0, 3);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'retried_total', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'running', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('other', 'failed', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('other', 'failed_total', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('other', 'queued', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('other', 'running', 0, 0);
INSERT INTO definitions ("definition", "text") VALUES ('hash-1', 'steps: []');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('cancelled', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('cancelled', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('cancelled', 3, 1700000000.0, 'task.cancelled', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('done', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('done', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('done', 3, 1700000000.0, 'task.started', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('done', 4, 1700000000.0, 'step.completed', 'a', '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('done', 5, 1700000000.0, 'task.completed', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('failed-1', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('failed-1', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('failed-1', 3, 1700000000.0, 'task.started', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('failed-1', 4, 1700000000.0, 'step.completed', 'a', '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('failed-1', 5, 1700000000.0, 'task.failed', NULL, '{"attempt":1,"code":"step_failed","message":"no disk"}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('failed-2', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('failed-2', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('failed-2', 3, 1700000000.0, 'task.started', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('failed-2', 4, 1700000000.0, 'step.completed', 'a', '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('failed-2', 5, 1700000000.0, 'task.failed', NULL, '{"attempt":1,"code":"step_failed","message":"no disk"}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('later', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('retried', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('retried', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('retried', 3, 1700000000.0, 'task.started', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('retried', 4, 1700000000.0, 'step.completed', 'a', '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('retried', 5, 1700000000.0, 'task.failed', NULL, '{"attempt":1,"code":"step_failed","message":"no disk"}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('retried', 6, 1700000000.0, 'task.retried', NULL, '{"attempt":2}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('retried', 7, 1700000000.0, 'task.queued', NULL, '{"attempt":2}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('runs', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('runs', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('runs', 3, 1700000000.0, 'task.started', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('waits-keyed', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('waits-keyed', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('waits-low', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('waits-low', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('waits-urgent', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('waits-urgent', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO schema_version ("version") VALUES (2);
INSERT INTO steps ("task_id", "path", "position", "status", "record", "output", "output_size") VALUES ('done', 'a', '0001', 'completed', '{"kind":"call","attempts":1,"tries":1,"started_at":null,"completed_at":null,"id":"a"}', '1', NULL);
INSERT INTO steps ("task_id", "path", "position", "status", "record", "output", "output_size") VALUES ('failed-1', 'a', '0001', 'completed', '{"kind":"call","attempts":1,"tries":1,"started_at":null,"completed_at":null,"id":"a"}', '1', NULL);
INSERT INTO steps ("task_id", "path", "position", "status", "record", "output", "output_size") VALUES ('failed-2', 'a', '0001', 'completed', '{"kind":"call","attempts":1,"tries":1,"started_at":null,"completed_at":null,"id":"a"}', '1', NULL);
INSERT INTO steps ("task_id", "path", "position", "status", "record", "output", "output_size") VALUES ('retried', 'a', '0001', 'completed', '{"kind":"call","attempts":1,"tries":1,"started_at":null,"completed_at":null,"id":"a"}', '1', NULL);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event") VALUES ('waits-low', 'orders', 'hash-1', 'queued', 'line', 0, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, NULL, NULL, 1700000000.0, 0.0, 1, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '{}', 1, NULL, NULL, NULL, 2);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event") VALUES ('waits-urgent', 'orders', 'hash-1', 'queued', 'other', 3, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, NULL, NULL, 1700000000.0, 0.0, 1, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '{}', 1, NULL, NULL, NULL, 2);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event") VALUES ('waits-keyed', 'orders', 'hash-1', 'queued', 'line', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, NULL, NULL, 1700000000.0, 0.0, 1, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, 'k', '{}', '{}', 1, NULL, NULL, NULL, 2);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event") VALUES ('later', 'orders', 'hash-1', 'pending', 'line', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, NULL, NULL, 1700003600.0, 0.0, 1, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '{}', 1, NULL, NULL, NULL, 1);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event") VALUES ('done', 'orders', 'hash-1', 'completed', 'line', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, 1700000000.0, 1700000000.0, 1700000000.0, 0.0, 1, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '{}', 1, NULL, 'finish:A', 1700000000.0, 5);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event") VALUES ('failed-1', 'orders', 'hash-1', 'failed', 'line', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, 1700000000.0, 1700000000.0, 1700000000.0, 0.0, 1, 0, 0, 0, 0, NULL, NULL, NULL, '{"code":"step_failed","message":"no disk","step":null,"path":"a","attempt":null,"retryable":true,"status":null,"retry_after":null,"traceback":null}', NULL, NULL, NULL, '{}', '{}', 1, NULL, 'finish:A', 1700000000.0, 5);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event") VALUES ('failed-2', 'orders', 'hash-1', 'failed', 'other', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, 1700000000.0, 1700000000.0, 1700000000.0, 0.0, 1, 0, 0, 0, 0, NULL, NULL, NULL, '{"code":"step_failed","message":"no disk","step":null,"path":"a","attempt":null,"retryable":true,"status":null,"retry_after":null,"traceback":null}', NULL, NULL, NULL, '{}', '{}', 1, NULL, 'finish:A', 1700000000.0, 5);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event") VALUES ('retried', 'orders', 'hash-1', 'queued', 'line', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, 1700000000.0, NULL, 1700000000.0, 0.0, 2, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '{}', 1, NULL, 'finish:A', 1700000000.0, 7);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event") VALUES ('cancelled', 'orders', 'hash-1', 'cancelled', 'line', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, NULL, 1700000000.0, 1700000000.0, 0.0, 1, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '{}', 1, NULL, NULL, NULL, 3);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event") VALUES ('runs', 'orders', 'hash-1', 'running', 'line', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, 1700000000.0, NULL, 1700000010.0, 0.0, 1, 0, 0, 0, 0, 'host:1', NULL, NULL, NULL, NULL, NULL, NULL, '{}', '{}', 1, 'B', NULL, 1700000000.0, 3);
