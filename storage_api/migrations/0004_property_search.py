"""Objects by label, annotation, image, address and uid, over all kinds and clusters."""

from django.db import migrations

# The expressions are spelled as in storage_api.services.property_search. They are plain ones, as
# each is computed for every row that is written.
FORWARD = r"""
-- Of each container's image the last part of its path, without and with the tag, in lower case:
-- `nginx` and `nginx:1.27` of registry.example.com/team/nginx:1.27@sha256:…
CREATE FUNCTION storage_image_names(data jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT string_to_array(
    regexp_replace(
      lower(btrim(jsonb_path_query_array(
        coalesce(data #> '{spec,jobTemplate,spec,template,spec}',
                 data #> '{spec,template,spec}', data -> 'spec'),
        'lax $.*[*].image ? (@.type() == "string")')::text, '[]')),
      '"(?:[^"]*/)?([^"/:@]+)(:[^"/@]+)?(@[^"]*)?"', '\1, \1\2', 'g'),
    ', ')
$$;
CREATE FUNCTION storage_addresses(data jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT jsonb_path_query_array(data, 'lax $.status.podIP')
      || jsonb_path_query_array(data, 'lax $.status.podIPs[*].ip')
      || jsonb_path_query_array(data, 'lax $.spec.clusterIP')
      || jsonb_path_query_array(data, 'lax $.spec.clusterIPs[*]')
      || jsonb_path_query_array(data, 'lax $.spec.externalIPs[*]')
      || jsonb_path_query_array(data, 'lax $.status.loadBalancer.ingress[*].ip')
      || jsonb_path_query_array(data, 'lax $.status.addresses[*].address')
$$;
CREATE INDEX storage_resource_labels ON storage_resource
  USING gin ((data #> '{metadata,labels}') jsonb_path_ops);
CREATE INDEX storage_resource_annotations ON storage_resource
  USING gin ((data #> '{metadata,annotations}') jsonb_path_ops);
CREATE INDEX storage_resource_images ON storage_resource USING gin (storage_image_names(data));
CREATE INDEX storage_resource_addresses ON storage_resource
  USING gin ((storage_addresses(data)) jsonb_path_ops);
-- For whole uids and parts of them: the index alone is read.
CREATE INDEX storage_resource_uid ON storage_resource (uid) WHERE uid IS NOT NULL;
"""
BACKWARD = """
DROP INDEX storage_resource_uid;
DROP INDEX storage_resource_addresses;
DROP INDEX storage_resource_images;
DROP INDEX storage_resource_annotations;
DROP INDEX storage_resource_labels;
DROP FUNCTION storage_addresses(jsonb);
DROP FUNCTION storage_image_names(jsonb);
"""


class Migration(migrations.Migration):

    dependencies = [
        ('storage_api', '0003_name_search'),
    ]

    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
