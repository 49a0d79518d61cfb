"""Synthetic traces in any number, made by DuckDB itself: what a month of real use might look like.

Latency is lognormal with a tail, differs by engine and quantization, follows the hour of the day;
a few requests fail or are cancelled; ids sort by time as real ones do.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from core.store.database import Store

TRACES = """
CREATE TEMP TABLE made AS
WITH numbers AS (
    SELECT i, $end - to_microseconds(CAST(($rows - i) * ($span_s * 1e6 / $rows) AS BIGINT)
             + CAST(random() * 1e6 AS BIGINT)) AS started_at,
        random() AS r1, random() AS r2, random() AS r3, random() AS r4, random() AS r5,
        sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) AS z
    FROM range($rows) t(i)
), kinds AS (
    SELECT *,
        CASE WHEN r1 < 0.55 THEN 1 WHEN r1 < 0.85 THEN 2 ELSE 3 END AS model,
        CASE WHEN r2 < 0.4 THEN 'nf4' WHEN r2 < 0.7 THEN 'int8' WHEN r2 < 0.9 THEN 'none'
             ELSE 'gguf' END AS quantization,
        1 + CAST(floor(r3 * 6) AS INTEGER) AS version,
        CASE WHEN r4 < 0.02 THEN 'failed' WHEN r4 < 0.03 THEN 'cancelled' ELSE 'ok' END AS state,
        40 + CAST(floor(r5 * 400) AS BIGINT) AS prompt_tokens,
        4 + CAST(floor(r5 * r1 * 120) AS BIGINT) AS output_tokens
    FROM numbers
), timed AS (
    SELECT *, exp(0.35 * z) * (20 + prompt_tokens * 0.4)
            * CASE quantization WHEN 'nf4' THEN 1.6 WHEN 'int8' THEN 1.3 ELSE 1 END
            * (1 + 0.5 * sin(hour(started_at) / 24 * 2 * pi())) AS ttft,
        exp(0.2 * z) * CASE quantization WHEN 'nf4' THEN 34 WHEN 'int8' THEN 27 WHEN 'gguf' THEN 12
            ELSE 21 END * model AS tpot
    FROM kinds
)
SELECT printf('trace_%010d%012d', epoch_ms(started_at), i) AS id, started_at,
    CASE WHEN r3 < 0.2 THEN 'playground' WHEN r3 < 0.9 THEN 'run' ELSE 'api' END AS source,
    state, CASE state WHEN 'failed' THEN 'the model worker ended: killed by signal 9' END AS error,
    'user_1' AS user_id, NULL AS conversation_id,
    'prompt_' || (version % 2) AS prompt_id, 'promptversion_' || version AS prompt_version_id,
    CASE version % 2 WHEN 0 THEN 'triage' ELSE 'answers' END || ' v' || (1 + version // 2)
        AS prompt_label,
    'model_' || model AS model_id,
    CASE model WHEN 1 THEN 'SmolLM2-135M-Instruct' WHEN 2 THEN 'Qwen3-0.6B' ELSE 'Llama-3.2-1B' END
        AS model_name,
    CASE quantization WHEN 'gguf' THEN 'llama.cpp' ELSE 'transformers' END AS engine,
    CASE quantization WHEN 'gguf' THEN 'Q4_1' ELSE quantization END AS quantization,
    'cpu' AS device, NULL AS adapter_id, NULL AS deployment_id,
    CASE WHEN r3 BETWEEN 0.2 AND 0.9 THEN printf('run_%d_%d', epoch_ms($end), i // 2000)
        END AS run_id,
    CASE WHEN r3 BETWEEN 0.2 AND 0.9 THEN 'variant_' || model || version END AS variant_id,
    CASE WHEN r3 BETWEEN 0.2 AND 0.9 THEN 'row_' || i END AS row_id,
    CASE state WHEN 'ok' THEN CASE WHEN r5 < 0.1 THEN 'length' ELSE 'stop' END END
        AS finish_reason,
    prompt_tokens AS prompt_token_count,
    CASE state WHEN 'failed' THEN NULL ELSE output_tokens END AS completion_token_count,
    r5 * 8 AS queue_ms, ttft * 0.9 AS prefill_ms,
    CASE state WHEN 'failed' THEN NULL ELSE ttft END AS ttft_ms,
    CASE state WHEN 'failed' THEN NULL ELSE tpot END AS tpot_ms,
    CASE state WHEN 'failed' THEN NULL ELSE tpot * 0.97 END AS itl_p50_ms,
    CASE state WHEN 'failed' THEN NULL ELSE tpot * (1.2 + r4) END AS itl_p95_ms,
    CASE state WHEN 'failed' THEN NULL ELSE tpot * (1.5 + 3 * r4) END AS itl_max_ms,
    CASE state WHEN 'failed' THEN r5 * 4000 ELSE ttft + tpot * (output_tokens - 1) END AS e2e_ms,
    'Ticket ' || i || ': my parcel number ' || (i * 7919 % 1000003)
        || ' has not arrived and the tracking page shows nothing since Tuesday.' AS input_preview,
    CASE state WHEN 'failed' THEN '' ELSE
        CASE WHEN r2 < 0.5 THEN 'delivery' WHEN r2 < 0.8 THEN 'billing' ELSE 'returns' END END
        AS output_preview
FROM timed
"""

TEXTS = """
INSERT INTO trace_texts BY NAME
SELECT id AS trace_id, to_json([
        {'role': 'system', 'content': 'Classify the ticket: delivery, billing, returns or other.'},
        {'role': 'user', 'content': input_preview}]) AS messages,
    '<|im_start|>system\nClassify the ticket: delivery, billing, returns or other.<|im_end|>\n'
        || '<|im_start|>user\n' || input_preview || '<|im_end|>\n<|im_start|>assistant\n'
        AS rendered_prompt,
    output_preview AS output,
    '{"max_tokens": 128, "temperature": 0.0, "top_p": 1.0}' AS generation,
    CASE WHEN state = 'ok' THEN list_transform(range(completion_token_count - 1),
        lambda n: itl_p50_ms * (0.9 + (n * 37 % 10) / 30)) END
        AS itl_ms
FROM made
"""

RESULTS = """
INSERT INTO results BY NAME
SELECT run_id, variant_id, row_id, 1 AS attempt, 0 AS row_index, 'ok' AS state,
    output_preview AS output, 'delivery' AS expected, 'stop' AS finish_reason, prompt_token_count,
    completion_token_count, ttft_ms, tpot_ms, e2e_ms, e2e_ms AS compute_ms, id AS trace_id,
    started_at AS created_at
FROM made WHERE run_id IS NOT NULL AND state = 'ok'
"""

SCORES = """
INSERT INTO scores BY NAME
SELECT run_id, variant_id, row_id, 1 AS attempt, name, CAST(passed AS DOUBLE) AS value, passed,
    'CODE' AS annotator_kind, name AS annotator, started_at AS created_at
FROM (
    SELECT *, hash(row_id || name) % 100 < CASE model_id WHEN 'model_1' THEN 62
        WHEN 'model_2' THEN 78 ELSE 85 END AS passed
    FROM made, (VALUES ('exact_match'), ('length')) names(name)
    WHERE run_id IS NOT NULL AND state = 'ok'
)
"""


def fill(
    store: Store,
    rows: int,
    *,
    end: datetime,
    span: timedelta,
    texts: bool = False,
    scores: bool = False,
    seed: float = 0.5,
) -> None:
    """Insert `rows` traces that end at `end` and reach `span` back."""
    numbers = {"rows": rows, "end": end, "span_s": span.total_seconds()}
    with store.transaction() as connection:
        connection.execute("SELECT setseed($seed)", {"seed": seed})
        connection.execute(TRACES, numbers)
        connection.execute("INSERT INTO traces BY NAME SELECT * FROM made ORDER BY started_at")
        if texts:
            connection.execute(TEXTS)
        if scores:
            connection.execute(RESULTS)
            connection.execute(SCORES)
        connection.execute("DROP TABLE made")
