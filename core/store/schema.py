"""The tables, as SQL: what the migrations execute, never changed once released.

Knows: every table and column. Does not know: in which order they came.
Primary keys yes, foreign keys no: they block ALTER in DuckDB. References are checked in core.
"""

GOVERNANCE = """
CREATE TABLE users (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    role VARCHAR NOT NULL,
    password_hash VARCHAR,
    must_set_password BOOLEAN NOT NULL DEFAULT false,
    created_at TIMESTAMP NOT NULL,
    disabled_at TIMESTAMP
);
CREATE TABLE sign_in_links (
    token_hash VARCHAR PRIMARY KEY,
    user_id VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    expires_at TIMESTAMP NOT NULL,
    used_at TIMESTAMP
);
CREATE TABLE sessions (
    token_hash VARCHAR PRIMARY KEY,
    user_id VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    expires_at TIMESTAMP NOT NULL,
    revoked_at TIMESTAMP
);
CREATE TABLE audit_log (
    id VARCHAR PRIMARY KEY,
    recorded_at TIMESTAMP NOT NULL,
    user_id VARCHAR,
    action VARCHAR NOT NULL,
    object_id VARCHAR,
    detail JSON
);
CREATE TABLE drafts (
    user_id VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    value JSON NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    PRIMARY KEY (user_id, key)
);
"""

JOBS = """
CREATE TABLE jobs (
    id VARCHAR PRIMARY KEY,
    kind VARCHAR NOT NULL,
    title VARCHAR NOT NULL,
    state VARCHAR NOT NULL,           -- queued running succeeded failed cancelled interrupted
    subject_id VARCHAR,               -- what the job works on: a run, a model
    progress_done BIGINT NOT NULL DEFAULT 0,
    progress_total BIGINT NOT NULL DEFAULT 0,
    message VARCHAR,
    error JSON,
    attempt INTEGER NOT NULL DEFAULT 1,
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    started_at TIMESTAMP,
    ended_at TIMESTAMP
);
"""

MODELS = """
CREATE TABLE models (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,            -- chat, embedding
    source VARCHAR NOT NULL,          -- starter, directory, gguf, hub, endpoint
    location VARCHAR NOT NULL,        -- folder, file, hub id or base URL
    revision VARCHAR,                 -- pinned hub revision, or the model name at an endpoint
    path VARCHAR,                     -- folder of safetensors, where there is one
    gguf_path VARCHAR,                -- GGUF file, where there is one
    sha256 VARCHAR,
    license VARCHAR,
    architecture VARCHAR,
    parameter_count BIGINT,
    weight_bytes BIGINT,
    context_length BIGINT,
    details JSON,                     -- layer sizes for the memory forecast, quantization of a GGUF
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    archived_at TIMESTAMP
);
CREATE TABLE calibrations (
    id VARCHAR PRIMARY KEY,
    model_id VARCHAR NOT NULL,
    engine VARCHAR NOT NULL,
    quantization VARCHAR NOT NULL,
    device VARCHAR NOT NULL,
    concurrency INTEGER NOT NULL,
    load_ms DOUBLE,
    prefill_tokens_per_s DOUBLE,
    decode_tokens_per_s DOUBLE,       -- all requests in flight together
    single_tokens_per_s DOUBLE,       -- one request alone
    busy_percent DOUBLE,              -- CPU that others used just before: above 50 it says little
    measured_at TIMESTAMP NOT NULL
);
"""

PROMPTS = """
CREATE TABLE prompts (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    description VARCHAR NOT NULL DEFAULT '',
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    archived_at TIMESTAMP
);
CREATE TABLE prompt_versions (
    id VARCHAR PRIMARY KEY,
    prompt_id VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    system_template VARCHAR NOT NULL,
    user_template VARCHAR NOT NULL,
    generation JSON NOT NULL,
    variables JSON NOT NULL,
    message VARCHAR NOT NULL DEFAULT '',
    content_hash VARCHAR NOT NULL,
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    UNIQUE (prompt_id, number)
);
CREATE TABLE prompt_tags (
    prompt_id VARCHAR NOT NULL,
    tag VARCHAR NOT NULL,
    version_id VARCHAR NOT NULL,
    moved_by VARCHAR NOT NULL,
    moved_at TIMESTAMP NOT NULL,
    PRIMARY KEY (prompt_id, tag)
);
"""

DATASETS = """
CREATE TABLE datasets (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    description VARCHAR NOT NULL DEFAULT '',
    license VARCHAR NOT NULL DEFAULT '',
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    requires_review BOOLEAN NOT NULL DEFAULT false,  -- before export, training, labelling
    archived_at TIMESTAMP
);
CREATE TABLE dataset_versions (
    id VARCHAR PRIMARY KEY,
    dataset_id VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    content_hash VARCHAR NOT NULL,
    parent_id VARCHAR,
    row_count BIGINT NOT NULL,
    columns JSON NOT NULL,            -- [{name, role: input|expected|metadata, type}]
    source VARCHAR NOT NULL,          -- what it was imported from, in words
    message VARCHAR NOT NULL DEFAULT '',
    recipe JSON,                      -- the steps that made it from its parent or its source
    report JSON,                      -- what each of them did; of an import: the file's sha256
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    UNIQUE (dataset_id, number)
);
CREATE TABLE dataset_tags (
    dataset_id VARCHAR NOT NULL,
    tag VARCHAR NOT NULL,
    version_id VARCHAR NOT NULL,
    moved_by VARCHAR NOT NULL,
    moved_at TIMESTAMP NOT NULL,
    PRIMARY KEY (dataset_id, tag)
);
CREATE TABLE dataset_checks (
    dataset_id VARCHAR PRIMARY KEY,
    checks JSON NOT NULL,             -- [{check, column, ...}], in order
    changed_by VARCHAR NOT NULL,
    changed_at TIMESTAMP NOT NULL
);
CREATE TABLE dataset_cards (
    dataset_id VARCHAR PRIMARY KEY,
    card JSON NOT NULL,               -- purpose, contact, sources, sections
    retention_until DATE,
    changed_by VARCHAR NOT NULL,
    changed_at TIMESTAMP NOT NULL
);
"""

REVIEWS = """
CREATE TABLE finding_reviews (
    id VARCHAR PRIMARY KEY,
    batch VARCHAR NOT NULL,           -- decisions made at once are undone at once
    dataset_id VARCHAR NOT NULL,
    row_id VARCHAR NOT NULL,          -- with column and mark: found again in later versions
    column_name VARCHAR NOT NULL,
    mark VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,            -- personal_data, secret
    type VARCHAR NOT NULL,            -- email, person, github_token ...
    decision VARCHAR NOT NULL,        -- accept, reject, edit
    replacement VARCHAR,              -- for edit
    note VARCHAR NOT NULL DEFAULT '',
    version_id VARCHAR NOT NULL,      -- where it was decided
    decided_by VARCHAR NOT NULL,
    decided_at TIMESTAMP NOT NULL
);
"""

RUNS = """
CREATE TABLE runs (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    dataset_version_id VARCHAR NOT NULL,
    dataset_label VARCHAR NOT NULL,   -- name and number, such as 'support-tickets v1'
    row_count BIGINT NOT NULL,        -- rows asked for: all, or the first n
    scorers JSON NOT NULL,
    plan JSON NOT NULL,               -- everything as it was asked of the job; no secrets
    job_id VARCHAR,
    baseline_variant_id VARCHAR,
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    archived_at TIMESTAMP
);
CREATE TABLE run_variants (
    id VARCHAR PRIMARY KEY,
    run_id VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    prompt_version_id VARCHAR NOT NULL,
    prompt_label VARCHAR NOT NULL,    -- name and number, such as 'triage v2'
    model_id VARCHAR NOT NULL,
    model_name VARCHAR NOT NULL,
    engine VARCHAR NOT NULL,          -- resolved before the run, never auto
    quantization VARCHAR NOT NULL,    -- likewise
    device VARCHAR NOT NULL,
    adapter_id VARCHAR,
    generation JSON NOT NULL,
    spec JSON NOT NULL                -- the worker spec whole, with why auto chose it; no secrets
);
CREATE TABLE results (
    run_id VARCHAR NOT NULL,
    variant_id VARCHAR NOT NULL,
    row_id VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,         -- a retried row is a new row; run_results shows the last
    row_index BIGINT NOT NULL,
    state VARCHAR NOT NULL,           -- ok, failed
    output VARCHAR,
    expected VARCHAR,
    input_preview VARCHAR,
    error VARCHAR,
    finish_reason VARCHAR,
    prompt_token_count BIGINT,
    completion_token_count BIGINT,
    ttft_ms DOUBLE,
    tpot_ms DOUBLE,
    e2e_ms DOUBLE,
    compute_ms DOUBLE,                -- this result's share of the time the model was busy
    trace_id VARCHAR,
    created_at TIMESTAMP NOT NULL,
    PRIMARY KEY (run_id, variant_id, row_id, attempt)
);
CREATE TABLE scores (
    run_id VARCHAR NOT NULL,
    variant_id VARCHAR NOT NULL,
    row_id VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    value DOUBLE,                     -- NULL: could not be scored, explanation says why
    passed BOOLEAN,
    text VARCHAR,
    explanation VARCHAR,
    annotator_kind VARCHAR NOT NULL,  -- CODE, LLM, HUMAN
    annotator VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    PRIMARY KEY (run_id, variant_id, row_id, attempt, name, annotator)
);
CREATE VIEW run_results AS
    SELECT * FROM results
    QUALIFY row_number() OVER (PARTITION BY run_id, variant_id, row_id ORDER BY attempt DESC) = 1;
"""

TRACES = """
CREATE TABLE traces (
    id VARCHAR PRIMARY KEY,
    started_at TIMESTAMP NOT NULL,
    source VARCHAR NOT NULL,          -- playground, run, api
    state VARCHAR NOT NULL,           -- ok, failed, cancelled
    error VARCHAR,
    user_id VARCHAR,
    conversation_id VARCHAR,
    prompt_id VARCHAR,
    prompt_version_id VARCHAR,
    prompt_label VARCHAR,             -- name and number, such as 'triage v2'; 'draft' for drafts
    model_id VARCHAR,
    model_name VARCHAR,
    engine VARCHAR,
    quantization VARCHAR,
    device VARCHAR,
    adapter_id VARCHAR,
    deployment_id VARCHAR,
    run_id VARCHAR,
    variant_id VARCHAR,
    row_id VARCHAR,
    finish_reason VARCHAR,
    prompt_token_count BIGINT,
    completion_token_count BIGINT,
    queue_ms DOUBLE,
    prefill_ms DOUBLE,
    ttft_ms DOUBLE,
    tpot_ms DOUBLE,
    itl_p50_ms DOUBLE,
    itl_p95_ms DOUBLE,
    itl_max_ms DOUBLE,
    e2e_ms DOUBLE,
    input_preview VARCHAR,
    output_preview VARCHAR
);
CREATE TABLE trace_texts (
    trace_id VARCHAR PRIMARY KEY,
    messages JSON,
    rendered_prompt VARCHAR,
    output VARCHAR,
    generation JSON,
    itl_ms DOUBLE[]
);
CREATE TABLE spans (
    id VARCHAR PRIMARY KEY,
    trace_id VARCHAR NOT NULL,
    parent_id VARCHAR,
    name VARCHAR NOT NULL,
    started_at TIMESTAMP NOT NULL,
    duration_ms DOUBLE NOT NULL,
    attributes JSON
);
"""

INGEST = """
CREATE TABLE ingest_offsets (
    segment VARCHAR PRIMARY KEY,      -- path of the segment, relative to the home
    offset_bytes BIGINT NOT NULL
);
"""


PENDING_RECIPES = """
CREATE TABLE pending_recipes (
    user_id VARCHAR NOT NULL,
    version_id VARCHAR NOT NULL,
    number INTEGER NOT NULL,          -- every change is a row: undo takes the newest away
    steps JSON NOT NULL,
    created_at TIMESTAMP NOT NULL,
    PRIMARY KEY (user_id, version_id, number)
);
"""


FINETUNES = """
ALTER TABLE models ADD COLUMN base_model_id VARCHAR;   -- of an adapter: what it is laid over
ALTER TABLE models ADD COLUMN adapter_path VARCHAR;    -- folder of its safetensors
CREATE TABLE finetunes (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    method VARCHAR NOT NULL,          -- sft, dpo, orpo, kto
    base_model_id VARCHAR NOT NULL,
    dataset_version_id VARCHAR NOT NULL,
    prompt_version_id VARCHAR,
    config JSON NOT NULL,             -- all that was asked for
    job_id VARCHAR,
    sweep_id VARCHAR,                 -- the fine-tunes of one sweep share it
    parent_id VARCHAR,                -- the fine-tune it goes on from or was cloned from
    adapter_model_id VARCHAR,         -- set once it is in the registry
    run_id VARCHAR,                   -- the comparison with its base
    result JSON,                      -- steps, losses, seconds, hardware
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    archived_at TIMESTAMP
);
"""
