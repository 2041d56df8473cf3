{#-
    Words of a text, as blocking and similarity see them. `distiller_udf/similarity/words.py` cuts the same text into the
    same, and says what the words are.
-#}

{#- SQL: the texts of each record, folded, a row each. -#}
{% macro _er_folded_texts(texts) -%}
select n, field, {{ distiller_udf._er_fold('text') }} as text
from (select n, unnest(texts) as text, cast(generate_subscripts(texts, 1) as usmallint) as field from {{ texts }})
where text is not null
{%- endmacro %}


{#- SQL: a text without accents and case, letters of one kind; what is written without spaces between spaces. -#}
{% macro _er_fold(text) -%}
{%- set told -%}
translate(
    lower(strip_accents({{ text }})),
    '０１２３４５６７８９ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ－．／＇＆＿øđłħıŧðʼ',
    '0123456789abcdefghijklmnopqrstuvwxyz-./''&_odlhitd'''
)
{%- endset -%}
{%- set spelled = namespace(text=told) -%}
{%- for letter, letters in [('ß', 'ss'), ('æ', 'ae'), ('œ', 'oe'), ('þ', 'th')] -%}
    {%- set spelled.text = "replace(" ~ spelled.text ~ ", '" ~ letter ~ "', '" ~ letters ~ "')" -%}
{%- endfor -%}
case
    when strlen({{ text }}) = length({{ text }}) then lower({{ text }})
    else regexp_replace({{ spelled.text }}, '([{{ distiller_udf._er_spaceless() }}]+)', ' \1 ', 'g')
end
{%- endmacro %}


{#- SQL: the parts of a folded text, in their order. -#}
{% macro _er_parts(text) -%}
regexp_extract_all({{ text }}, '[\p{L}\p{N}]+')
{%- endmacro %}


{#- SQL: the distinct words of a folded text. -#}
{% macro _er_words(text) -%}
{%- set letter = '[\\p{L}\\p{Nl}\\p{No}]' -%}
list_distinct(list_concat(
    {{ distiller_udf._er_parts(text) }},
    [
        case
            when regexp_full_match(joined, '[0-9]+\.[0-9]+') then joined
            else regexp_replace(joined, '[^\p{L}\p{N}]+', '', 'g')
        end
        for joined in list_concat(
            regexp_extract_all({{ text }}, '[\p{L}\p{N}]+(?:[-‐‑–/.''’`´&_·][\p{L}\p{N}]+)+'),
            regexp_extract_all(
                {{ text }}, '(?:^|[^\p{L}\p{N}])((?:{{ letter }}[. ]{1,2}){1,6}{{ letter }})(?:[^\p{L}\p{N}]|$)', 1
            )
        )
    ],
    regexp_extract_all({{ text }}, '[0-9]{2,}'),
    case
        when strlen({{ text }}) != length({{ text }}) then flatten([
            [substr(run, place, 2) for place in range(1, length(run))]
            for run in regexp_extract_all({{ text }}, '[{{ distiller_udf._er_spaceless() }}]+')
        ])
        else []
    end
))
{%- endmacro %}


{#- The signs of scripts that are written without spaces, as ranges of a regular expression. -#}
{% macro _er_spaceless() -%}
\x{3005}-\x{3007}\x{3041}-\x{3096}\x{309d}-\x{309f}\x{30a1}-\x{30fa}\x{30fc}-\x{30ff}\x{3400}-\x{4dbf}\x{4e00}-\x{9fff}\x{f900}-\x{faff}\x{20000}-\x{3ffff}
{%- endmacro %}
