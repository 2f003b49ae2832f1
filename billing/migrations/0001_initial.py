import billing.models.orders
import core.crypto
import django.db.models.deletion
import uuid
from decimal import Decimal
from django.conf import settings
from django.db import migrations, models


# The database itself keeps the ledger balanced and append-only.
BALANCED = """
CREATE FUNCTION billing_posting_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE total numeric;
BEGIN
    SELECT sum(amount) INTO total FROM billing_entry WHERE posting_id = NEW.posting_id;
    IF total <> 0 THEN
        RAISE EXCEPTION 'posting % is out of balance by %', NEW.posting_id, total USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER billing_posting_balanced AFTER INSERT ON billing_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_posting_balanced();
"""
APPEND_ONLY = """
CREATE FUNCTION billing_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% only ever grows', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER billing_append_only BEFORE UPDATE OR DELETE ON billing_entry
    FOR EACH ROW EXECUTE FUNCTION billing_append_only();
CREATE TRIGGER billing_append_only BEFORE UPDATE OR DELETE ON billing_posting
    FOR EACH ROW EXECUTE FUNCTION billing_append_only();
CREATE TRIGGER billing_append_only BEFORE UPDATE OR DELETE ON billing_usagesample
    FOR EACH ROW EXECUTE FUNCTION billing_append_only();
CREATE TRIGGER billing_append_only BEFORE UPDATE OR DELETE ON billing_payment
    FOR EACH ROW EXECUTE FUNCTION billing_append_only();
"""
UNDO = """
DROP TRIGGER billing_append_only ON billing_payment;
DROP TRIGGER billing_append_only ON billing_usagesample;
DROP TRIGGER billing_append_only ON billing_posting;
DROP TRIGGER billing_append_only ON billing_entry;
DROP FUNCTION billing_append_only();
DROP TRIGGER billing_posting_balanced ON billing_entry;
DROP FUNCTION billing_posting_balanced();
"""


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('clusters', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Webhook',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('url', models.URLField(max_length=500)),
                ('events', models.JSONField(blank=True, default=list, help_text='Which events; empty is all.')),
                ('key', core.crypto.EncryptedTextField(editable=False)),
                ('active', models.BooleanField(default=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='Order',
            fields=[
                ('id', models.CharField(default=billing.models.orders.new_id, editable=False, max_length=24, primary_key=True, serialize=False)),
                ('units', models.PositiveSmallIntegerField()),
                ('duration', models.PositiveIntegerField(help_text='In steps of VKUBE_DURATION_SECONDS, as that was when it was bought.')),
                ('step_seconds', models.PositiveIntegerField()),
                ('region', models.CharField(blank=True, default='', max_length=63)),
                ('ports', models.CharField(choices=[('User Specified Service Port', 'Chosen'), ('System Random Map Port', 'Random')], default='User Specified Service Port', max_length=40)),
                ('price', models.DecimalField(decimal_places=8, help_text='Per resource unit and hour, as it was when it was bought.', max_digits=18)),
                ('amount', models.DecimalField(decimal_places=0, max_digits=20)),
                ('amount_paid', models.DecimalField(decimal_places=0, default=Decimal('0'), max_digits=20)),
                ('address', models.CharField(blank=True, default='', help_text="The payer's address.", max_length=64)),
                ('recipient', models.CharField(blank=True, default='', help_text="The provider's address.", max_length=64)),
                ('public_key', models.CharField(blank=True, default='', max_length=128)),
                ('status', models.CharField(choices=[('OrderPending', 'Pending'), ('OrderPaid', 'Paid'), ('OrderFiled', 'Filed')], default='OrderPending', editable=False, max_length=16)),
                ('service', models.CharField(choices=[('ServicePending', 'Pending'), ('ServiceRunning', 'Running'), ('ServiceDone', 'Done'), ('ServiceAbort', 'Aborted')], default='ServicePending', editable=False, max_length=16)),
                ('service_name', models.UUIDField(default=uuid.uuid4, editable=False, help_text='The name of its Deployment.', unique=True)),
                ('secret_digest', models.CharField(editable=False, max_length=64, null=True, unique=True)),
                ('secret_issued_at', models.DateTimeField(editable=False, null=True)),
                ('created_at', models.DateTimeField(editable=False)),
                ('updated_at', models.DateTimeField(editable=False)),
                ('activated_at', models.DateTimeField(editable=False, help_text='The first successful deploy.', null=True)),
                ('expires_at', models.DateTimeField(editable=False, null=True)),
                ('closed_at', models.DateTimeField(editable=False, null=True)),
                ('owner', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='orders', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-created_at', 'id'],
            },
        ),
        migrations.CreateModel(
            name='Deployment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('namespace', models.CharField(max_length=63)),
                ('name', models.CharField(max_length=63)),
                ('region', models.CharField(max_length=63)),
                ('containers', models.JSONField(help_text='Name, image, memory and ports of each.')),
                ('memory_bytes', models.PositiveBigIntegerField()),
                ('digest', models.CharField(help_text='Keyed hash of the whole manifest.', max_length=64)),
                ('state', models.CharField(choices=[('applying', 'Applying'), ('applied', 'Applied'), ('ready', 'Ready'), ('failed', 'Failed'), ('replaced', 'Replaced'), ('removing', 'Removing'), ('removed', 'Removed'), ('abandoned', 'Abandoned')], default='applied', max_length=10)),
                ('error', models.CharField(blank=True, default='', max_length=500)),
                ('operation', models.BigIntegerField(blank=True, help_text='The Operation that follows it.', null=True)),
                ('created_at', models.DateTimeField()),
                ('ready_at', models.DateTimeField(blank=True, null=True)),
                ('removed_at', models.DateTimeField(blank=True, null=True)),
                ('stopped', models.BooleanField(default=False, help_text='Whether its pod was stopped.')),
                ('attempts', models.PositiveIntegerField(default=0, help_text='How often its removal was tried.')),
                ('cluster', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='clusters.cluster')),
                ('order', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='deployments', to='billing.order')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Payment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount', models.DecimalField(decimal_places=8, max_digits=28)),
                ('reference', models.CharField(blank=True, default='', max_length=200)),
                ('by', models.CharField(max_length=150)),
                ('at', models.DateTimeField()),
                ('order', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='payments', to='billing.order')),
            ],
            options={
                'ordering': ['-at', '-id'],
            },
        ),
        migrations.CreateModel(
            name='Plan',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, unique=True)),
                ('price', models.DecimalField(decimal_places=8, default=Decimal('90'), help_text='Per resource unit and hour.', max_digits=18)),
                ('units', models.JSONField(default=billing.models.orders.unit_choices, help_text='How many units one order may have.')),
                ('regions', models.JSONField(blank=True, default=list, help_text='Where it is sold; empty is everywhere.')),
                ('service_id', models.CharField(default=billing.models.orders.new_id, editable=False, max_length=24)),
                ('category_id', models.CharField(default=billing.models.orders.new_id, editable=False, max_length=24)),
                ('active', models.BooleanField(default=True)),
            ],
            options={
                'ordering': ['name'],
                'constraints': [models.CheckConstraint(condition=models.Q(('price__gt', 0)), name='plan_price_positive')],
            },
        ),
        migrations.AddField(
            model_name='order',
            name='plan',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='orders', to='billing.plan'),
        ),
        migrations.CreateModel(
            name='PortClaim',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('region', models.CharField(max_length=63)),
                ('port', models.PositiveIntegerField()),
                ('protocol', models.CharField(max_length=4)),
                ('container_port', models.PositiveIntegerField()),
                ('cluster', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='clusters.cluster')),
                ('deployment', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='claims', to='billing.deployment')),
            ],
        ),
        migrations.CreateModel(
            name='Posting',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('payment', 'Payment'), ('charge', 'Charge'), ('refund', 'Refund'), ('forfeit', 'Forfeit')], max_length=8)),
                ('key', models.CharField(max_length=100, unique=True)),
                ('at', models.DateTimeField()),
                ('memo', models.CharField(blank=True, default='', max_length=200)),
                ('first_sample', models.BigIntegerField(blank=True, null=True)),
                ('last_sample', models.BigIntegerField(blank=True, null=True)),
                ('order', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='postings', to='billing.order')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='Entry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('account', models.CharField(db_index=True, max_length=64)),
                ('amount', models.DecimalField(decimal_places=8, max_digits=28)),
                ('posting', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='entries', to='billing.posting')),
            ],
            options={
                'verbose_name_plural': 'entries',
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='UsageSample',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('pod_uid', models.CharField(max_length=64)),
                ('pod_name', models.CharField(max_length=253)),
                ('at', models.DateTimeField()),
                ('since', models.DateTimeField(help_text="When its containers last started, by the cluster's clock.")),
                ('memory_bytes', models.PositiveBigIntegerField(help_text='Memory limits of its running containers.')),
                ('running_ms', models.PositiveBigIntegerField()),
                ('cluster', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='clusters.cluster')),
                ('order', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='samples', to='billing.order')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.CharField(default=billing.models.orders.new_id, editable=False, max_length=24, primary_key=True, serialize=False)),
                ('event', models.CharField(max_length=40)),
                ('payload', models.TextField(help_text='The exact bytes that are signed and sent.')),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('delivered', 'Delivered'), ('failed', 'Failed')], default='pending', max_length=10)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('created_at', models.DateTimeField()),
                ('due_at', models.DateTimeField()),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('answer', models.CharField(blank=True, default='', help_text='HTTP status or what went wrong, last time.', max_length=200)),
                ('order', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='deliveries', to='billing.order')),
                ('webhook', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='billing.webhook')),
            ],
            options={
                'verbose_name_plural': 'deliveries',
                'ordering': ['-created_at'],
            },
        ),
        migrations.AddIndex(
            model_name='deployment',
            index=models.Index(fields=['state'], name='deployment_state'),
        ),
        migrations.AddConstraint(
            model_name='deployment',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ('applied', 'ready', 'failed'))), fields=('order',), name='one_live_deployment_per_order'),
        ),
        migrations.AddConstraint(
            model_name='deployment',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'applying')), fields=('order',), name='one_applying_deployment_per_order'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(fields=['service', 'expires_at'], name='order_expiry'),
        ),
        migrations.AddConstraint(
            model_name='order',
            constraint=models.CheckConstraint(condition=models.Q(('duration__gte', 1), ('step_seconds__gte', 1), ('units__gte', 1)), name='order_size_positive'),
        ),
        migrations.AddConstraint(
            model_name='order',
            constraint=models.CheckConstraint(condition=models.Q(('amount_paid__gte', 0), ('amount_paid__lte', models.F('amount'))), name='order_never_overpaid'),
        ),
        migrations.AddConstraint(
            model_name='order',
            constraint=models.CheckConstraint(condition=models.Q(('status', 'OrderPending'), ('amount_paid', models.F('amount')), _connector='OR'), name='order_filed_only_when_paid'),
        ),
        migrations.AddConstraint(
            model_name='portclaim',
            constraint=models.UniqueConstraint(fields=('cluster', 'region', 'port', 'protocol'), name='host_port_claimed_once'),
        ),
        migrations.AddIndex(
            model_name='posting',
            index=models.Index(fields=['order', 'id'], name='posting_order'),
        ),
        migrations.AddIndex(
            model_name='usagesample',
            index=models.Index(fields=['order', 'id'], name='sample_order'),
        ),
        migrations.AddIndex(
            model_name='usagesample',
            index=models.Index(fields=['order', 'pod_uid', '-at'], name='sample_pod'),
        ),
        migrations.AddIndex(
            model_name='usagesample',
            index=models.Index(fields=['cluster', 'at'], name='sample_recent'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['state', 'due_at'], name='delivery_due'),
        ),
        migrations.RunSQL([BALANCED, APPEND_ONLY], [UNDO]),
    ]
