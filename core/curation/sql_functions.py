"""The functions that a typed query may call: those that compute, none that reach out.

Knows: names, as DuckDB's parser gives them. Does not know: queries. Left out on purpose: files
(read_*, glob), settings and environment (current_setting, getenv, getvariable), catalogs
(duckdb_*, pragma_*), SQL in text (query, json_execute_serialized_sql), and what makes gigabytes
of one word (repeat, lpad, rpad).
"""

from __future__ import annotations

_TEXT = """
    array_extract ascii bit_length char_length character_length chr concat concat_ws contains
    damerau_levenshtein editdist3 ends_with format formatreadablesize from_base64 hamming hash
    hex instr jaccard jaro_similarity jaro_winkler_similarity lcase left left_grapheme len
    length length_grapheme levenshtein like_escape ilike_escape not_like_escape not_ilike_escape
    lower ltrim md5 mismatches nfc_normalize octet_length ord position prefix printf
    regexp_escape regexp_extract regexp_extract_all regexp_full_match regexp_matches
    regexp_replace regexp_split_to_array replace reverse right right_grapheme rtrim sha1 sha256
    split split_part starts_with str_split str_split_regex string_split string_split_regex
    string_to_array strip_accents strlen strpos substr substring substring_grapheme suffix
    to_base64 translate trim ucase unhex unicode upper url_decode url_encode
"""
_NUMBERS = """
    abs acos acosh add asin asinh atan atan2 atanh bin bit_count cbrt ceil ceiling cos cosh cot
    degrees divide even exp factorial floor gamma gcd greatest greatest_common_divisor isfinite
    isinf isnan lcm least least_common_multiple lgamma ln log log10 log2 mod multiply nextafter
    pi pow power radians random round round_even roundbankers setseed sign signbit sin sinh sqrt
    subtract tan tanh trunc xor
"""
_TIMES = """
    age century current_date current_timestamp get_current_timestamp date_diff date_part
    date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth dayofweek
    dayofyear decade epoch epoch_ms epoch_ns epoch_us era hour isodow isoyear julian last_day
    make_date make_time make_timestamp microsecond millennium millisecond minute month monthname
    nanosecond now quarter second strftime strptime time_bucket timezone to_days to_hours
    to_milliseconds to_minutes to_months to_seconds to_timestamp to_weeks to_years today
    try_strptime week weekday weekofyear year yearweek
"""
_NESTED = """
    array_aggregate array_append array_apply array_cat array_concat array_contains
    array_cosine_similarity array_distance array_distinct array_filter array_has array_has_all
    array_has_any array_indexof array_intersect array_length array_position array_prepend
    array_reverse array_reverse_sort array_select array_slice array_sort array_to_string
    array_transform array_unique array_value array_where array_zip cardinality element_at
    flatten from_json json json_array json_array_length json_contains json_each json_exists
    json_extract json_extract_path json_extract_path_text json_extract_string json_keys
    json_merge_patch json_object json_pretty json_quote json_structure json_type json_valid
    json_value list_aggregate list_append list_apply list_cat list_concat list_contains
    list_cosine_similarity list_distance list_distinct list_element list_extract list_filter
    list_has list_has_all list_has_any list_indexof list_intersect list_pack list_position
    list_prepend list_reduce list_reverse list_reverse_sort list_select list_slice list_sort
    list_sum list_avg list_min list_max list_transform list_unique list_value list_where
    list_zip map map_contains map_entries map_extract map_from_entries map_keys map_values row
    struct_extract struct_insert struct_pack to_json unnest
"""
_OTHER = """
    coalesce constant_or_null error if ifnull nullif typeof try_cast equi_width_bins ~~ !~~ ~~*
    !~~* ~~~ || + - * / // % ** ^ & | << >> = <> != < <= > >= -> ->> @> <@ && ! ~ ^@
"""
_AGGREGATES = """
    any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_max_null
    arg_min arg_min_null argmax argmin array_agg avg bit_and bit_or bit_xor bool_and bool_or
    corr count count_if count_star countif covar_pop covar_samp entropy favg first fsum
    group_concat histogram histogram_exact kahan_sum kurtosis kurtosis_pop last list listagg mad
    max max_by mean median min min_by mode product quantile quantile_cont quantile_disc
    regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy
    reservoir_quantile sem skewness stddev stddev_pop stddev_samp string_agg sum sum_no_overflow
    sumkahan var_pop var_samp variance
"""
_WINDOWS = """
    cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank
    row_number
"""

FUNCTIONS = frozenset(
    " ".join((_TEXT, _NUMBERS, _TIMES, _NESTED, _OTHER, _AGGREGATES, _WINDOWS)).split()
)
TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series", "json_each"})
