-- SQL functions of the store: short texts, instants, equality over a path, RFC 3339 out.
CREATE FUNCTION storage_text(value jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN jsonb_typeof(value) = 'string' AND octet_length(value #>> '{}') <= 256 THEN value #>> '{}' END
$$;

-- A moment as documents hold it: RFC3339 text (fractions cut at microseconds), or a number of unix seconds; null for anything else. Immutable
-- because the text carries its offset. Calls no function of ours, so that a dump restores under an empty search_path.
CREATE FUNCTION storage_moment(value jsonb) RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 20 AS $$
DECLARE
  stored text := value #>> '{}';
  year int; month int; day int;
  moment timestamptz;
BEGIN
  IF jsonb_typeof(value) = 'number' THEN
    RETURN CASE WHEN stored::numeric BETWEEN -62135596800 AND 253402300799 THEN to_timestamp(stored::float8) END;
  ELSIF jsonb_typeof(value) <> 'string' OR stored !~
    '^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-](0\d|1[0-4]):?[0-5]\d)$' THEN
    RETURN NULL;
  END IF;
  year := substr(stored, 1, 4)::int; month := substr(stored, 6, 2)::int; day := substr(stored, 9, 2)::int;
  IF year = 0 OR day > (CASE WHEN month = 2 THEN CASE WHEN (year % 4 = 0 AND year % 100 <> 0) OR year % 400 = 0 THEN 29 ELSE 28 END
                             WHEN month IN (4, 6, 9, 11) THEN 30 ELSE 31 END) THEN
    RETURN NULL;
  END IF;
  moment := regexp_replace(stored, '(\.\d{6})\d+', '\1')::timestamptz;
  RETURN CASE WHEN moment >= '0001-01-01 00:00:00Z' AND moment < '10000-01-01 00:00:00Z' THEN moment END;
END
$$;

-- Whether a stored moment is at or after a bound; null when there is no moment. A wall-clock bound is compared with the text's own clock.
CREATE FUNCTION storage_at_or_after(value jsonb, seconds numeric, wall text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 500 AS $$
DECLARE
  stored text := value #>> '{}';
  instant timestamptz;
BEGIN
  IF jsonb_typeof(value) = 'number' THEN
    RETURN stored::numeric >= seconds;
  ELSIF jsonb_typeof(value) = 'string' THEN
    instant := storage_moment(value);
    IF instant IS NULL THEN
      RETURN NULL;
    ELSIF wall IS NOT NULL THEN
      RETURN replace(left(stored, 19), 'T', ' ') COLLATE "C" >= wall COLLATE "C";
    END IF;
    RETURN extract(epoch FROM instant) >= seconds;
  END IF;
  RETURN NULL;
END
$$;

-- Mongo's equality: the path from a node reaches a value equal to any of the wanted ones. A step on an array looks into its objects (and, all
-- digits, takes that element), an array equals what it holds, null equals what is missing.
CREATE FUNCTION storage_matches(node jsonb, path text[], wanted jsonb[]) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000 AS $$
DECLARE
  kind text := jsonb_typeof(node);
  rest text[];
  element jsonb;
  place int := 0;
BEGIN
  IF node IS NULL THEN
    RETURN 'null'::jsonb = ANY (wanted);
  ELSIF cardinality(path) = 0 THEN
    RETURN node = ANY (wanted)
      OR (kind = 'array' AND EXISTS (SELECT 1 FROM jsonb_array_elements(node) AS held WHERE held.value = ANY (wanted)));
  END IF;
  rest := path[2:];
  IF kind = 'object' THEN
    RETURN storage_matches(node -> path[1], rest, wanted);
  ELSIF kind <> 'array' THEN
    RETURN 'null'::jsonb = ANY (wanted);
  END IF;
  FOR element IN SELECT held.value FROM jsonb_array_elements(node) AS held LOOP
    IF jsonb_typeof(element) = 'object' AND storage_matches(element, path, wanted) THEN
      RETURN true;
    ELSIF path[1] = place::text AND (cardinality(rest) = 0 OR jsonb_typeof(element) IN ('object', 'array'))
          AND storage_matches(element, rest, wanted) THEN
      RETURN true;
    END IF;
    place := place + 1;
  END LOOP;
  RETURN false;
END
$$;

-- The substring rule of extra_contain: the path reaches a text that holds the wanted one.
CREATE FUNCTION storage_contains(node jsonb, path text[], wanted text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000 AS $$
DECLARE
  kind text := jsonb_typeof(node);
  element jsonb;
  place int := 0;
BEGIN
  IF node IS NULL THEN
    RETURN false;
  ELSIF cardinality(path) = 0 THEN
    RETURN CASE kind
      WHEN 'string' THEN position(wanted IN node #>> '{}') > 0
      WHEN 'array' THEN EXISTS (SELECT 1 FROM jsonb_array_elements(node) AS held
                                WHERE jsonb_typeof(held.value) = 'string' AND position(wanted IN held.value #>> '{}') > 0)
      ELSE false END;
  ELSIF kind = 'object' THEN
    RETURN storage_contains(node -> path[1], path[2:], wanted);
  ELSIF kind <> 'array' THEN
    RETURN false;
  END IF;
  FOR element IN SELECT held.value FROM jsonb_array_elements(node) AS held LOOP
    IF jsonb_typeof(element) = 'object' AND storage_contains(element, path, wanted) THEN
      RETURN true;
    ELSIF path[1] = place::text AND storage_contains(element, path[2:], wanted) THEN
      RETURN true;
    END IF;
    place := place + 1;
  END LOOP;
  RETURN false;
END
$$;

-- RFC3339 with milliseconds in a named zone.
CREATE FUNCTION storage_rfc3339(value timestamptz, zone text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT to_char(value AT TIME ZONE zone, 'YYYY-MM-DD"T"HH24:MI:SS.MS') || CASE
    WHEN (value AT TIME ZONE zone) = (value AT TIME ZONE 'UTC') THEN 'Z'
    WHEN (value AT TIME ZONE zone) > (value AT TIME ZONE 'UTC')
      THEN '+' || to_char((value AT TIME ZONE zone) - (value AT TIME ZONE 'UTC'), 'HH24:MI')
    ELSE '-' || to_char((value AT TIME ZONE 'UTC') - (value AT TIME ZONE zone), 'HH24:MI') END
$$;
