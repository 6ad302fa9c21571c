-- A database as version 1 of the schema made it, with tasks that keep files.
CREATE TABLE counters (
    queue TEXT NOT NULL,
    name TEXT NOT NULL,
    shard INTEGER NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (queue, name, shard)
)
 WITHOUT ROWID;
CREATE TABLE definitions (
    definition TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (definition)
);
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
CREATE TABLE schema_version (
    version INTEGER NOT NULL,
    PRIMARY KEY (version)
);
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
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'completed', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'completed_total', 0, 1);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'queued', 0, 2);
INSERT INTO counters ("queue", "name", "shard", "number") VALUES ('line', 'running', 0, 1);
INSERT INTO definitions ("definition", "text") VALUES ('hash-1', 'steps: []');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('done', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('done', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('done', 3, 1700000000.0, 'task.started', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('done', 4, 1700000000.0, 'step.completed', 'a', '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('done', 5, 1700000000.0, 'step.completed', 'b', '{"attempt":1,"code":"step_failed","message":"half \ud800 of a pair"}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('done', 6, 1700000000.0, 'task.completed', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('runs', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('runs', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('runs', 3, 1700000000.0, 'task.started', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('runs', 4, 1700000000.0, 'step.completed', 'a', '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('runs', 5, 1700000000.0, 'step.started', 'b', '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('waits', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('waits', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('waits-large', 1, 1700000000.0, 'task.created', NULL, '{"attempt":1}');
INSERT INTO events ("task_id", "id", "at", "kind", "path", "data") VALUES ('waits-large', 2, 1700000000.0, 'task.queued', NULL, '{"attempt":1}');
INSERT INTO labels ("task_id", "name", "value") VALUES ('waits', 'team', 'shop');
INSERT INTO large_values ("task_id", "key", "text") VALUES ('waits-large', 'variables', '{"uploads":[{"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","name":"a.csv","size":3},{"sha256":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","name":"a.csv","size":3},{"sha256":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","name":"a.csv","size":3}]}');
INSERT INTO schema_version ("version") VALUES (1);
INSERT INTO steps ("task_id", "path", "position", "status", "record", "output", "output_size") VALUES ('done', 'a', '0001', 'completed', '{"kind":"call","attempts":1,"tries":1,"started_at":null,"completed_at":null,"id":"a","files":{"x/y.txt":{"size":1,"sha256":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"},"odd \udcff":{"size":1,"sha256":"eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"}}}', '1', NULL);
INSERT INTO steps ("task_id", "path", "position", "status", "record", "output", "output_size") VALUES ('done', 'b', '0002', 'completed', '{"kind":"call","attempts":1,"tries":1,"started_at":null,"completed_at":null,"id":"b","error":{"code":"step_failed","message":"half \ud800 of a pair","step":null,"path":"b","attempt":null,"retryable":true,"status":null,"retry_after":null,"traceback":null},"tolerated":true,"files":{"z":{"size":1,"sha256":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"}}}', '1', NULL);
INSERT INTO steps ("task_id", "path", "position", "status", "record", "output", "output_size") VALUES ('runs', 'a', '0001', 'completed', '{"kind":"call","attempts":1,"tries":1,"started_at":null,"completed_at":null,"id":"a","inputs":"{\"text\": \"{\\\"sha256\\\":\\\"0000000000000000000000000000000000000000000000000000000000000000\\\"}\"}","files":{"x":{"size":1,"sha256":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"}}}', '"sha256: 0000000000000000000000000000000000000000000000000000000000000000"', NULL);
INSERT INTO steps ("task_id", "path", "position", "status", "record", "output", "output_size") VALUES ('runs', 'b', '0002', 'running', '{"kind":"call","attempts":1,"tries":1,"started_at":null,"completed_at":null,"id":"b"}', NULL, NULL);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event") VALUES ('waits', 'orders', 'hash-1', 'queued', 'line', 1, '{"upload":{"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","name":"a.csv","size":3}}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, NULL, NULL, 1700000000.0, 0.0, 1, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"team":"shop"}', '{}', 1, NULL, NULL, NULL, 2);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event") VALUES ('waits-large', 'orders', 'hash-1', 'queued', 'line', 1, NULL, 319, 1700000000.0, 1700000000.0, 60.0, 3, NULL, NULL, 1700000000.0, 0.0, 1, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '{}', 1, NULL, NULL, NULL, 2);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event") VALUES ('done', 'orders', 'hash-1', 'completed', 'line', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, 1700000000.0, 1700000000.0, 1700000000.0, 0.0, 1, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '{}', 1, NULL, 'finish:A', 1700000000.0, 6);
INSERT INTO tasks ("task_id", "workflow_id", "definition", "status", "queue", "priority", "variables", "variables_size", "created_at", "updated_at", "timeout", "max_retries", "started_at", "completed_at", "due", "ran_for", "attempt", "retry_count", "crashes", "undo", "cancel_requested", "worker", "outputs", "outputs_size", "error", "progress", "external_id", "idempotency_key", "labels", "trigger", "format", "token", "released", "claimed_at", "last_event") VALUES ('runs', 'orders', 'hash-1', 'running', 'line', 1, '{}', NULL, 1700000000.0, 1700000000.0, 60.0, 3, 1700000000.0, NULL, 1700000010.0, 0.0, 1, 0, 0, 0, 0, 'host:1', NULL, NULL, NULL, NULL, NULL, NULL, '{}', '{}', 1, 'B', NULL, 1700000000.0, 5);
