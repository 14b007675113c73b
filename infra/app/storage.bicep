// The storage account of the Functions host: no shared keys, no public blobs, one role on each container that needs it.

param name string
param location string
param sku string
param tags object
param principalId string
@description('Who deploys, and runs the command line beside the app; empty: nobody.')
param operatorId string
param operatorType string
param deploymentContainer string
param leaseContainer string
param refreshQueue string
@allowed(['Disabled', 'Enabled'])
param publicNetworkAccess string

// The host keeps its timer's lock and its keys in containers of these names.
var hostContainers = ['azure-webjobs-hosts', 'azure-webjobs-secrets']
var blobDataOwner = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
)
var blobDataContributor = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
)
var blobDataReader = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1'
)
var queueDataContributor = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
)

resource account 'Microsoft.Storage/storageAccounts@2026-04-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: publicNetworkAccess
    supportsHttpsTrafficOnly: true
    networkAcls: {
      bypass: 'None'
      defaultAction: publicNetworkAccess == 'Enabled' ? 'Allow' : 'Deny'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2026-04-01' = {
  parent: account
  name: 'default'
}

resource hostContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-04-01' = [
  for container in hostContainers: {
    parent: blobs
    name: container
    properties: {
      publicAccess: 'None'
    }
  }
]

resource deployments 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-04-01' = {
  parent: blobs
  name: deploymentContainer
  properties: {
    publicAccess: 'None'
  }
}

resource leases 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-04-01' = {
  parent: blobs
  name: leaseContainer
  properties: {
    publicAccess: 'None'
  }
}

resource queues 'Microsoft.Storage/storageAccounts/queueServices@2026-04-01' = if (!empty(refreshQueue)) {
  parent: account
  name: 'default'
}

resource queue 'Microsoft.Storage/storageAccounts/queueServices/queues@2026-04-01' = if (!empty(refreshQueue)) {
  parent: queues
  name: empty(refreshQueue) ? 'unused' : refreshQueue
}

resource poisonQueue 'Microsoft.Storage/storageAccounts/queueServices/queues@2026-04-01' = if (!empty(refreshQueue)) {
  parent: queues
  name: '${empty(refreshQueue) ? 'unused' : refreshQueue}-poison'
}

// The host's own health check lists the containers; the app can read all four of them anyway.
resource hostListRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, principalId, blobDataReader)
  scope: account
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: blobDataReader
  }
}

resource hostRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (container, index) in hostContainers: {
    name: guid(account.id, container, principalId, blobDataOwner)
    scope: hostContainer[index]
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: blobDataOwner
    }
  }
]

resource deploymentRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(deployments.id, principalId, blobDataContributor)
  scope: deployments
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: blobDataContributor
  }
}

resource leaseRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(leases.id, principalId, blobDataContributor)
  scope: leases
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: blobDataContributor
  }
}

// Commands on a laptop take the same lease as the app: without it, a forced refresh would run beside a scheduled one.
resource operatorLeaseRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorId)) {
  name: guid(leases.id, operatorId, blobDataContributor)
  scope: leases
  properties: {
    principalId: operatorId
    principalType: operatorType
    roleDefinitionId: blobDataContributor
  }
}

resource queueRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(refreshQueue)) {
  name: guid(account.id, 'queue', principalId, queueDataContributor)
  scope: queue
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: queueDataContributor
  }
}

resource poisonQueueRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(refreshQueue)) {
  name: guid(account.id, 'poison-queue', principalId, queueDataContributor)
  scope: poisonQueue
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: queueDataContributor
  }
}

output accountId string = account.id
output accountName string = account.name
output blobEndpoint string = account.properties.primaryEndpoints.blob
output queueEndpoint string = account.properties.primaryEndpoints.queue
output leaseContainerUrl string = '${account.properties.primaryEndpoints.blob}${leaseContainer}'
output deploymentContainerUrl string = '${account.properties.primaryEndpoints.blob}${deploymentContainer}'
