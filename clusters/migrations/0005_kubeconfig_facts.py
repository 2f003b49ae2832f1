from django.db import migrations, models


class Migration(migrations.Migration):
    """What is known of a kubeconfig without showing it: the context in use, when it runs out, whose API server it is."""

    dependencies = [("clusters", "0004_prometheus")]

    operations = [
        migrations.AddField(
            model_name="cluster",
            name="context",
            field=models.CharField(
                blank=True,
                default="",
                help_text="The kubeconfig's context that is used.",
                max_length=500,
            ),
        ),
        migrations.AddField(
            model_name="cluster",
            name="contexts",
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AddField(
            model_name="cluster",
            name="credentials_expire_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="cluster",
            name="system_uid",
            field=models.CharField(
                blank=True,
                default="",
                help_text="Uid of the namespace kube-system.",
                max_length=64,
            ),
        ),
        migrations.AddField(
            model_name="cluster",
            name="namespaces",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="Where the credentials may look, if they may not look everywhere.",
            ),
        ),
    ]
