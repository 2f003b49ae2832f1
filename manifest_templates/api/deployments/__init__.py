"""/templates/{id}/deploy, /template-deployments: what was made of templates, and its actions."""

from manifest_templates.api.deployments.changing import DeploymentViewSet
from manifest_templates.api.deployments.deploying import DeployTemplate, TemplateDeployments

__all__ = ["DeployTemplate", "DeploymentViewSet", "TemplateDeployments"]
