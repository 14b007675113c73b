// Where the events go. Local authentication is off: only identities with the role may send telemetry.

param workspaceName string
@description('Resource id of a workspace that is already there; empty: a new one.')
param existingWorkspaceId string
param applicationInsightsName string
param location string
param tags object
param principalId string
param retentionInDays int

var metricsPublisher = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '3913510d-42f4-4e42-8a64-420c390055eb'
)

resource workspace 'Microsoft.OperationalInsights/workspaces@2026-03-01' = if (empty(existingWorkspaceId)) {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    retentionInDays: retentionInDays
    // An identity with a role is asked for either way; the portal and the alerts read it from outside of any network.
    publicNetworkAccessForIngestion: 'Enabled'
    publicNetworkAccessForQuery: 'Enabled'
    sku: {
      name: 'PerGB2018'
    }
    features: {
      disableLocalAuth: true
    }
  }
}

// Before anything is sent, so that the alert rules, which come later, find the table that they ask.
resource events 'Microsoft.OperationalInsights/workspaces/tables@2025-07-01' = if (empty(existingWorkspaceId)) {
  parent: workspace
  name: 'AppTraces'
  properties: {
    plan: 'Analytics'
  }
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' = {
  name: applicationInsightsName
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    DisableLocalAuth: true
    IngestionMode: 'LogAnalytics'
    publicNetworkAccessForIngestion: 'Enabled'
    publicNetworkAccessForQuery: 'Enabled'
    WorkspaceResourceId: empty(existingWorkspaceId) ? workspace.id : existingWorkspaceId
  }
  dependsOn: [events]
}

resource publisher 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(applicationInsights.id, principalId, metricsPublisher)
  scope: applicationInsights
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: metricsPublisher
  }
}

output workspaceId string = empty(existingWorkspaceId) ? workspace.id : existingWorkspaceId
output componentId string = applicationInsights.id
output connectionString string = applicationInsights.properties.ConnectionString
