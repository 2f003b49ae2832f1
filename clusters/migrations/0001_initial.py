import core.crypto
import django.db.models.functions.text
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Cluster',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('description', models.TextField(blank=True, default='')),
                ('kubeconfig', core.crypto.EncryptedTextField()),
                ('server', models.CharField(max_length=500)),
                ('version', models.CharField(blank=True, default='', max_length=64)),
                ('status', models.CharField(choices=[('active', 'Active'), ('unreachable', 'Unreachable'), ('error', 'Error'), ('pending', 'Pending')], default='pending', max_length=16)),
                ('status_reason', models.CharField(blank=True, default='', max_length=300)),
                ('labels', models.JSONField(blank=True, default=dict)),
                ('is_default', models.BooleanField(default=False)),
                ('protected', models.BooleanField(default=False, help_text='Deleting and draining here asks for confirmation.')),
                ('impersonate', models.BooleanField(default=False, help_text='Name the caller to the cluster, so that its own RBAC decides too.')),
                ('prometheus', models.CharField(blank=True, default='', help_text='namespace/service:port, or an http(s) address.', max_length=500)),
                ('context', models.CharField(blank=True, default='', help_text="The kubeconfig's context that is used.", max_length=500)),
                ('contexts', models.JSONField(blank=True, default=list)),
                ('credentials_expire_at', models.DateTimeField(blank=True, null=True)),
                ('system_uid', models.CharField(blank=True, default='', help_text='Uid of the namespace kube-system.', max_length=64)),
                ('namespaces', models.JSONField(blank=True, default=list, help_text='Where the credentials may look, if they may not look everywhere.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('last_seen_at', models.DateTimeField(blank=True, null=True)),
                ('deleted_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(django.db.models.functions.text.Lower('name'), condition=models.Q(('deleted_at', None)), name='cluster_name_unique'), models.UniqueConstraint(models.F('is_default'), condition=models.Q(('deleted_at', None), ('is_default', True)), name='one_default_cluster')],
            },
        ),
    ]
