"""The tables of blind votes, as SQL: like `schema`, never changed once released.

Knows: every table and column of them. Does not know: in which order they came.
"""

VOTES = """
CREATE TABLE votes (
    id VARCHAR PRIMARY KEY,
    run_id VARCHAR NOT NULL,
    row_id VARCHAR NOT NULL,
    left_variant_id VARCHAR NOT NULL,   -- the sides as they were shown
    right_variant_id VARCHAR NOT NULL,
    choice VARCHAR NOT NULL,            -- left, right, tie, both_bad; skip: set aside
    reason VARCHAR NOT NULL DEFAULT '',
    queue VARCHAR NOT NULL,             -- which rows were gone through: all, losses
    user_id VARCHAR NOT NULL,
    seconds DOUBLE,                     -- from the row's being shown to the choice
    created_at TIMESTAMP NOT NULL
);
CREATE TABLE vote_orders (
    run_id VARCHAR NOT NULL,
    first_variant_id VARCHAR NOT NULL,
    second_variant_id VARCHAR NOT NULL,
    user_id VARCHAR NOT NULL,
    seed VARCHAR NOT NULL,              -- of the order of rows and of the sides
    created_at TIMESTAMP NOT NULL,
    PRIMARY KEY (run_id, first_variant_id, second_variant_id, user_id)
);
CREATE TABLE vote_preferences (
    version_id VARCHAR NOT NULL,        -- the dataset version that was made of the votes
    run_id VARCHAR NOT NULL,
    policy JSON NOT NULL,               -- pairs, ties, min_votes, min_agreement, counts
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    PRIMARY KEY (version_id, run_id)
);
"""
