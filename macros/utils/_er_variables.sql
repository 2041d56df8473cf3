{#- What each variable may be. Settings: written by `python -m distiller_udf.settings`. -#}
{% macro _er_variables() %}
    {% do return({
        'er_sources': {'type': 'list', 'least': 0, 'allowed': 'a list such as [{name: shop, model: customers, id: customer_id}]', 'of': {'type': 'mapping', 'allowed': 'a source is {name, id, and one of model, source, relation}, and may have columns', 'keys': {'name': {'type': 'text', 'pattern': '^[^:]*[^:\\s][^:]*$', 'allowed': 'a text without a colon; entity ids are source:id', 'required': true}, 'model': {'type': 'text', 'allowed': 'a text', 'nullable': true}, 'source': {'type': 'list', 'least': 2, 'allowed': '[name of the dbt source, name of the table]', 'most': 2, 'of': {'type': 'text', 'allowed': 'a text'}, 'nullable': true}, 'relation': {'type': 'any', 'of': [{'type': 'text', 'pattern': '^("([^"]|"")+"|[^".]*[^".\\s][^".]*)(\\.("([^"]|"")+"|[^".]*[^".\\s][^".]*)){0,2}$', 'allowed': 'database.schema.table, of which the first two may be left out'}, {'type': 'list', 'least': 1, 'allowed': 'schema.table, or a list of its parts; "my schema"."table 1" where a part is no plain name', 'most': 3, 'of': {'type': 'text', 'allowed': 'a text'}}], 'allowed': 'schema.table, or a list of its parts; "my schema"."table 1" where a part is no plain name', 'nullable': true}, 'id': {'type': 'text', 'allowed': 'a text', 'required': true}, 'columns': {'type': 'any', 'of': [{'type': 'list', 'least': 1, 'allowed': 'a list of columns, or a mapping of new name to SQL expression', 'of': {'type': 'text', 'allowed': 'a text'}}, {'type': 'mapping', 'allowed': 'a mapping', 'least': 1, 'entries': {'type': 'text', 'allowed': 'a text'}}], 'allowed': 'a list of columns, or a mapping of new name to SQL expression', 'nullable': true}}, 'one_of': ['model', 'source', 'relation']}, 'nullable': true, 'distinct': 'name'},
        'er_task': {'type': 'choice', 'values': ['auto', 'link', 'dedupe', 'link_and_dedupe'], 'allowed': 'auto, link, dedupe, link_and_dedupe'},
        'er_constraint': {'type': 'choice', 'values': ['auto', 'one_to_one', 'many_to_one', 'one_to_many', 'none'], 'allowed': 'auto, one_to_one, many_to_one, one_to_many, none'},
        'er_blocking': {'type': 'any', 'of': [{'type': 'text', 'allowed': 'a text'}, {'type': 'mapping', 'allowed': 'a mapping'}, {'type': 'list', 'least': 1, 'allowed': 'auto, or a list of ways of blocking, such as [tokens, {qgrams: {top_k: 10}}]'}], 'allowed': 'auto, or a list of ways of blocking, such as [tokens, {qgrams: {top_k: 10}}]'},
        'er_blocking_rules': {'type': 'list', 'least': 0, 'allowed': 'a list of SQL expressions, each a text or {name, expression}', 'of': {'type': 'any', 'of': [{'type': 'text', 'allowed': 'a text'}, {'type': 'mapping', 'allowed': 'a mapping', 'keys': {'name': {'type': 'text', 'allowed': 'a text', 'required': true}, 'expression': {'type': 'text', 'allowed': 'a text', 'required': true}}}], 'allowed': 'a list of SQL expressions, each a text or {name, expression}'}, 'nullable': true},
        'er_blocking_columns': {'type': 'list', 'least': 1, 'allowed': 'a list of column names', 'of': {'type': 'text', 'allowed': 'a text'}, 'nullable': true},
        'er_blocking_top_k': {'type': 'integer', 'from': 1, 'to': 1000, 'allowed': 'a whole number from 1 to 1000'},
        'er_blocking_mode': {'type': 'choice', 'values': ['auto', 'mutual', 'union', 'left', 'right'], 'allowed': 'auto, mutual, union, left, right'},
        'er_qgram_size': {'type': 'integer', 'from': 2, 'to': 8, 'allowed': 'a whole number from 2 to 8'},
        'er_blocking_max_block': {'type': 'integer', 'from': 2, 'to': 100000, 'allowed': 'a whole number from 2 to 100000'},
        'er_blocking_share_of_best': {'type': 'number', 'from': 0, 'to': 1, 'allowed': 'a number from 0 to 1'},
        'er_blocking_encoder': {'type': 'text', 'allowed': 'a folder, or the id of a model on the hub'},
        'er_blocking_index': {'type': 'choice', 'values': ['exact', 'hnsw'], 'allowed': 'exact, hnsw'},
        'er_max_pairs': {'type': 'integer', 'from': 1, 'to': 1000000000000, 'allowed': 'a whole number from 1 to 1000000000000', 'nullable': true},
        'er_blocking_similarity': {'type': 'choice', 'values': ['text', 'ways'], 'allowed': 'text, ways'},
        'er_max_candidates': {'type': 'integer', 'from': 1, 'to': 100000, 'allowed': 'a whole number from 1 to 100000', 'nullable': true},
        'er_selection_strategy': {'type': 'choice', 'values': ['random', 'max', 'top2', 'kmeans', 'hierarchical', 'uncertain'], 'allowed': 'random, max, top2, kmeans, hierarchical, uncertain'},
        'er_selection_share': {'type': 'number', 'from': 0, 'to': 1, 'allowed': 'a number from 0 to 1'},
        'er_selection_minimum': {'type': 'integer', 'from': 0, 'to': 2147483647, 'allowed': 'a whole number from 0 to 2147483647'},
        'er_selection_positive_ratio': {'type': 'number', 'from': 0, 'to': 1, 'allowed': 'a number from 0 to 1'},
        'er_selection_bins': {'type': 'integer', 'from': 2, 'to': 1000, 'allowed': 'a whole number from 2 to 1000'},
        'er_selection_rounds': {'type': 'integer', 'from': 1, 'to': 1000, 'allowed': 'a whole number from 1 to 1000'},
        'er_seed': {'type': 'integer', 'from': 0, 'to': 2147483647, 'allowed': 'a whole number from 0 to 2147483647'},
        'er_teacher': {'type': 'choice', 'values': ['embedded', 'openai', 'vllm', 'encoder', 'imported'], 'allowed': 'embedded, openai, vllm, encoder, imported'},
        'er_teacher_model': {'type': 'text', 'allowed': 'a text', 'nullable': true},
        'er_teacher_base_url': {'type': 'text', 'pattern': '^(?i:https?)://(\\[[0-9A-Fa-f:.]+\\]|[^\\s/?#@\\\\:\\[\\]%]+)(:[0-9]{1,5})?(/[^\\s?#\\\\]*)?$', 'allowed': 'an address such as http://localhost:8000/v1, without a user, a password, a query or a fragment; a key goes into an environment variable', 'nullable': true, 'private': true},
        'er_teacher_api_key_env': {'type': 'text', 'pattern': '^[A-Za-z_][A-Za-z0-9_]*$', 'allowed': 'the name of an environment variable, not what it holds', 'private': true},
        'er_teacher_concurrency': {'type': 'integer', 'from': 1, 'to': 1024, 'allowed': 'a whole number from 1 to 1024'},
        'er_teacher_timeout': {'type': 'number', 'from': 1, 'to': 10000, 'allowed': 'a number from 1 to 10000'},
        'er_teacher_parameters': {'type': 'mapping', 'allowed': 'a mapping', 'nullable': true, 'private': true},
        'er_teacher_prices': {'type': 'text', 'allowed': 'a text', 'nullable': true},
        'er_teacher_ask': {'type': 'choice', 'values': ['select', 'match'], 'allowed': 'select, match'},
        'er_teacher_reply': {'type': 'choice', 'values': ['explanation', 'confidence', 'answer', 'token'], 'allowed': 'explanation, confidence, answer, token'},
        'er_teacher_orders': {'type': 'integer', 'from': 1, 'to': 100, 'allowed': 'a whole number from 1 to 100'},
        'er_teacher_justify': {'type': 'boolean', 'allowed': 'true, false'},
        'er_teacher_justify_each': {'type': 'boolean', 'allowed': 'true, false'},
        'er_teacher_encoder': {'type': 'text', 'allowed': 'a folder, or the id of a model on the hub', 'nullable': true},
        'er_teacher_base': {'type': 'choice', 'values': ['openai', 'vllm'], 'allowed': 'openai, vllm'},
        'er_teacher_base_share': {'type': 'number', 'from': 0, 'to': 1, 'between': true, 'allowed': 'a number between 0 and 1, neither of them'},
        'er_teachers': {'type': 'list', 'least': 1, 'allowed': 'a list of mappings, such as [{model: qwen2.5:32b}]', 'of': {'type': 'mapping', 'keys': {'teacher': {'type': 'choice', 'values': ['embedded', 'openai', 'vllm', 'encoder', 'imported'], 'allowed': 'embedded, openai, vllm, encoder, imported', 'nullable': true}, 'model': {'type': 'text', 'allowed': 'a text', 'nullable': true}, 'base_url': {'type': 'text', 'pattern': '^(?i:https?)://(\\[[0-9A-Fa-f:.]+\\]|[^\\s/?#@\\\\:\\[\\]%]+)(:[0-9]{1,5})?(/[^\\s?#\\\\]*)?$', 'allowed': 'an address such as http://localhost:8000/v1, without a user, a password, a query or a fragment; a key goes into an environment variable', 'nullable': true, 'private': true}, 'api_key_env': {'type': 'text', 'pattern': '^[A-Za-z_][A-Za-z0-9_]*$', 'allowed': 'the name of an environment variable, not what it holds', 'private': true, 'nullable': true}, 'concurrency': {'type': 'integer', 'from': 1, 'to': 1024, 'allowed': 'a whole number from 1 to 1024', 'nullable': true}, 'timeout': {'type': 'number', 'from': 1, 'to': 10000, 'allowed': 'a number from 1 to 10000', 'nullable': true}, 'parameters': {'type': 'mapping', 'allowed': 'a mapping', 'nullable': true, 'private': true}, 'prices': {'type': 'text', 'allowed': 'a text', 'nullable': true}, 'ask': {'type': 'choice', 'values': ['select', 'match'], 'allowed': 'select, match', 'nullable': true}, 'reply': {'type': 'choice', 'values': ['explanation', 'confidence', 'answer', 'token'], 'allowed': 'explanation, confidence, answer, token', 'nullable': true}, 'orders': {'type': 'integer', 'from': 1, 'to': 100, 'allowed': 'a whole number from 1 to 100', 'nullable': true}, 'justify': {'type': 'boolean', 'allowed': 'true, false', 'nullable': true}, 'justify_each': {'type': 'boolean', 'allowed': 'true, false', 'nullable': true}, 'encoder': {'type': 'text', 'allowed': 'a folder, or the id of a model on the hub', 'nullable': true}, 'base': {'type': 'choice', 'values': ['openai', 'vllm'], 'allowed': 'openai, vllm', 'nullable': true}, 'base_share': {'type': 'number', 'from': 0, 'to': 1, 'between': true, 'allowed': 'a number between 0 and 1, neither of them', 'nullable': true}, 'name': {'type': 'text', 'nullable': true, 'allowed': 'a text'}}, 'allowed': 'a list of mappings, such as [{model: qwen2.5:32b}]', 'private': true}, 'nullable': true, 'private': true},
        'er_vote': {'type': 'choice', 'values': ['majority', 'dawid_skene', 'unanimous'], 'allowed': 'majority, dawid_skene, unanimous'},
        'er_budget_calls': {'type': 'integer', 'from': 0, 'to': 1000000000, 'allowed': 'a whole number from 0 to 1000000000', 'nullable': true},
        'er_budget_tokens': {'type': 'integer', 'from': 0, 'to': 1000000000000, 'allowed': 'a whole number from 0 to 1000000000000', 'nullable': true},
        'er_budget_usd': {'type': 'number', 'from': 0, 'to': 1000000, 'allowed': 'a number from 0 to 1000000', 'nullable': true},
        'er_private_columns': {'type': 'list', 'least': 0, 'allowed': 'a list of column names', 'of': {'type': 'text', 'allowed': 'a text'}},
        'er_masked_columns': {'type': 'list', 'least': 0, 'allowed': 'a list of column names', 'of': {'type': 'text', 'allowed': 'a text'}},
        'er_local_only': {'type': 'boolean', 'allowed': 'true, false'},
        'er_label_store': {'type': 'text', 'allowed': 'a text'},
        'er_student': {'type': 'choice', 'values': ['lexical', 'encoder', 'blend', 'cross_encoder', 'llm'], 'allowed': 'lexical, encoder, blend, cross_encoder, llm'},
        'er_student_encoder': {'type': 'text', 'allowed': 'a folder, or the id of a model on the hub'},
        'er_llm_model': {'type': 'text', 'allowed': 'a folder, or the id of a model on the hub', 'nullable': true},
        'er_llm_training': {'type': 'mapping', 'allowed': 'a mapping', 'nullable': true, 'keys': {'seed': {'type': 'integer', 'from': 0, 'to': 2147483647, 'allowed': 'a whole number from 0 to 2147483647'}, 'max_candidates': {'type': 'integer', 'from': 1, 'allowed': 'a whole number from 1'}, 'target_precision': {'type': 'number', 'from': 0, 'to': 1, 'between': true, 'allowed': 'a number between 0 and 1, neither of them', 'nullable': true}, 'method': {'type': 'choice', 'values': ['sft', 'dpo', 'grpo'], 'allowed': 'sft, dpo, grpo'}, 'model': {'type': 'text', 'allowed': 'a folder, or the id of a model on the hub', 'nullable': true}, 'start': {'type': 'text', 'allowed': "a student's folder, or its version", 'nullable': true}, 'rank': {'type': 'integer', 'from': 0, 'allowed': 'a whole number from 0'}, 'alpha': {'type': 'integer', 'from': 1, 'allowed': 'a whole number from 1'}, 'dropout': {'type': 'number', 'from': 0, 'to': 0.99, 'allowed': 'a number from 0 to 0.99'}, 'learning_rate': {'type': 'number', 'from': 0, 'between': true, 'allowed': 'a number above 0'}, 'schedule': {'type': 'choice', 'values': ['linear', 'cosine', 'constant'], 'allowed': 'linear, cosine, constant'}, 'warmup_steps': {'type': 'integer', 'from': 0, 'allowed': 'a whole number from 0'}, 'weight_decay': {'type': 'number', 'from': 0, 'allowed': 'a number from 0'}, 'batch': {'type': 'integer', 'from': 1, 'allowed': 'a whole number from 1'}, 'micro_batch': {'type': 'integer', 'from': 1, 'allowed': 'a whole number from 1'}, 'epochs': {'type': 'integer', 'from': 1, 'allowed': 'a whole number from 1'}, 'steps': {'type': 'integer', 'from': 1, 'allowed': 'a whole number from 1', 'nullable': true}, 'max_length': {'type': 'integer', 'from': 64, 'allowed': 'a whole number from 64'}, 'held_out': {'type': 'number', 'from': 0, 'to': 1, 'between': true, 'allowed': 'a number between 0 and 1, neither of them'}, 'four_bit': {'type': 'boolean', 'allowed': 'true, false', 'nullable': true}, 'checkpoint_steps': {'type': 'integer', 'from': 1, 'allowed': 'a whole number from 1'}, 'local_only': {'type': 'boolean', 'allowed': 'true, false'}, 'explanations': {'type': 'boolean', 'allowed': 'true, false'}, 'beta': {'type': 'number', 'from': 0, 'between': true, 'allowed': 'a number above 0'}, 'preferences': {'type': 'choice', 'values': ['answers', 'disagreements', 'corrections'], 'allowed': 'answers, disagreements, corrections'}, 'corrected_by': {'type': 'text', 'allowed': 'a text', 'nullable': true}, 'generations': {'type': 'integer', 'from': 2, 'allowed': 'a whole number from 2'}, 'temperature': {'type': 'number', 'from': 0, 'between': true, 'allowed': 'a number above 0'}, 'reply_tokens': {'type': 'integer', 'from': 1, 'allowed': 'a whole number from 1'}}},
        'er_llm_engine': {'type': 'choice', 'values': ['transformers', 'vllm', 'server'], 'allowed': 'transformers, vllm, server'},
        'er_llm_engine_arguments': {'type': 'mapping', 'allowed': 'a mapping', 'nullable': true},
        'er_llm_orders': {'type': 'integer', 'from': 1, 'to': 19, 'allowed': 'a whole number from 1 to 19'},
        'er_llm_base_url': {'type': 'text', 'pattern': '^(?i:https?)://(\\[[0-9A-Fa-f:.]+\\]|[^\\s/?#@\\\\:\\[\\]%]+)(:[0-9]{1,5})?(/[^\\s?#\\\\]*)?$', 'allowed': 'an address such as http://localhost:8000/v1, without a user, a password, a query or a fragment; a key goes into an environment variable', 'nullable': true, 'private': true},
        'er_llm_served_as': {'type': 'text', 'allowed': 'a text', 'nullable': true},
        'er_llm_api_key_env': {'type': 'text', 'pattern': '^[A-Za-z_][A-Za-z0-9_]*$', 'allowed': 'the name of an environment variable, not what it holds', 'nullable': true, 'private': true},
        'er_target_precision': {'type': 'number', 'from': 0, 'to': 1, 'between': true, 'allowed': 'a number between 0 and 1, neither of them', 'nullable': true},
        'er_students_path': {'type': 'text', 'allowed': 'a text'},
        'er_student_name': {'type': 'text', 'allowed': 'a text'},
        'er_student_path': {'type': 'text', 'allowed': 'a text', 'nullable': true},
        'er_training': {'type': 'choice', 'values': ['build', 'schedule'], 'allowed': 'build, schedule'},
        'er_evaluation_share': {'type': 'number', 'from': 0, 'to': 0.9, 'allowed': 'a number from 0 to 0.9'},
        'er_promotion_margin': {'type': 'number', 'from': 0, 'to': 1, 'allowed': 'a number from 0 to 1'},
        'er_promotion_risk': {'type': 'number', 'from': 0, 'to': 1, 'allowed': 'a number from 0 to 1'},
        'er_calibration_margin': {'type': 'number', 'from': 0, 'to': 1, 'allowed': 'a number from 0 to 1'},
        'er_promotion_max_change': {'type': 'number', 'from': 0, 'to': 1, 'allowed': 'a number from 0 to 1', 'nullable': true},
        'er_drift_tuples': {'type': 'integer', 'from': 1, 'to': 1000000, 'allowed': 'a whole number from 1 to 1000000'},
        'er_drift_psi': {'type': 'number', 'from': 0, 'to': 100, 'allowed': 'a number from 0 to 100'},
        'er_threshold': {'type': 'number', 'from': 0, 'to': 1, 'allowed': 'a number from 0 to 1', 'nullable': true},
        'er_entity_max_size': {'type': 'integer', 'from': 1, 'to': 1000000000, 'allowed': 'a whole number from 1 to 1000000000', 'nullable': true},
        'er_must_links': {'type': 'text', 'allowed': 'a text', 'nullable': true},
        'er_cannot_links': {'type': 'text', 'allowed': 'a text', 'nullable': true},
        'er_gold': {'type': 'text', 'allowed': 'a text', 'nullable': true},
        'er_strict': {'type': 'boolean', 'allowed': 'true, false'},
        'er_summary': {'type': 'boolean', 'allowed': 'true, false'},
    }) %}
{% endmacro %}


{#- The options of every way of blocking; those without a default have a variable for it. -#}
{% macro _er_way_rules() %}
    {% do return({
        'tokens': {'name': {'type': 'text', 'allowed': 'a text'}, 'top_k': {'type': 'integer', 'from': 1, 'to': 1000, 'allowed': 'a whole number from 1 to 1000', 'nullable': true}, 'mode': {'type': 'choice', 'values': ['mutual', 'union', 'left', 'right'], 'allowed': 'mutual, union, left, right', 'nullable': true}},
        'qgrams': {'name': {'type': 'text', 'allowed': 'a text'}, 'top_k': {'type': 'integer', 'from': 1, 'to': 1000, 'allowed': 'a whole number from 1 to 1000', 'nullable': true}, 'mode': {'type': 'choice', 'values': ['mutual', 'union', 'left', 'right'], 'allowed': 'mutual, union, left, right', 'nullable': true}},
        'embeddings': {'name': {'type': 'text', 'allowed': 'a text'}, 'top_k': {'type': 'integer', 'from': 1, 'to': 1000, 'allowed': 'a whole number from 1 to 1000', 'nullable': true}, 'mode': {'type': 'choice', 'values': ['mutual', 'union', 'left', 'right'], 'allowed': 'mutual, union, left, right', 'nullable': true}},
        'minhash': {'name': {'type': 'text', 'allowed': 'a text'}, 'terms': {'type': 'choice', 'values': ['tokens', 'qgrams'], 'allowed': 'tokens, qgrams', 'default': 'qgrams'}, 'bands': {'type': 'integer', 'from': 1, 'to': 1000, 'allowed': 'a whole number from 1 to 1000', 'default': 20}, 'rows': {'type': 'integer', 'from': 1, 'to': 100, 'allowed': 'a whole number from 1 to 100', 'default': 5}, 'max_block': {'type': 'integer', 'from': 2, 'to': 100000, 'allowed': 'a whole number from 2 to 100000', 'nullable': true}},
        'equal': {'name': {'type': 'text', 'allowed': 'a text'}, 'expression': {'type': 'text', 'allowed': 'a text', 'required': true}, 'max_block': {'type': 'integer', 'from': 2, 'to': 100000, 'allowed': 'a whole number from 2 to 100000', 'nullable': true}},
        'sorted': {'name': {'type': 'text', 'allowed': 'a text'}, 'expression': {'type': 'text', 'allowed': 'a text', 'required': true}, 'window': {'type': 'integer', 'from': 2, 'to': 1000, 'allowed': 'a whole number from 2 to 1000', 'default': 5}},
        'all': {'name': {'type': 'text', 'allowed': 'a text', 'nullable': true}, 'all': {'type': 'list', 'least': 2, 'allowed': 'a list of two ways or more', 'required': true}},
    }) %}
{% endmacro %}


{#- What else there is to know of ways: words that are none, those that bring identical, the most hashes. -#}
{% macro _er_way_words() %}
    {% do return({'words': ['auto', 'rules'], 'neighbours': ['tokens', 'qgrams', 'embeddings'], 'identical': 'identical', 'max_hashes': 1000, 'example': ' Such as tokens, {qgrams: {top_k: 10}}, {equal: lower(email)}, {equal: {expression: lower(email), name: email}} or {all: [qgrams, {equal: town}]}.'}) %}
{% endmacro %}


{#- Which variable needs which other one. -#}
{% macro _er_needs() %}
    {% do return([
        ['er_teacher', ['openai', 'vllm', 'encoder'], 'er_teacher_model', 'such as gpt-4.1-mini or qwen2.5:32b'],
        ['er_teacher', ['encoder'], 'er_teacher_encoder', 'a folder, or the id of a model on the hub'],
        ['er_llm_engine', ['server'], 'er_llm_base_url', 'such as http://localhost:8000/v1'],
    ]) %}
{% endmacro %}
