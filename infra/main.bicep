// Everything that the refresher needs in Azure, in one resource group. `azd up` deploys it; docs/azure.md explains it.
targetScope = 'subscription'

@minLength(1)
@maxLength(40)
@description('Name of the azd environment; part of the resource group\'s name.')
param environmentName string
@description('Azure region.')
param location string

@description('Object id of the person or service principal that deploys, who may then put secrets into the vault and take the lease; empty: nobody.')
param principalId string = ''
@allowed(['User', 'Group', 'ServicePrincipal'])
param principalType string = 'User'

@description('Name of a Key Vault that is already there, with Azure RBAC; empty: a new one.')
param keyVaultName string = ''
@description('Its resource group; empty: the refresher\'s own.')
param keyVaultResourceGroup string = ''
@description('Name of Simple Chat\'s own Key Vault, in this subscription; empty: nothing is published there.')
param simpleChatVaultName string = ''
@description('Its resource group; empty: the refresher\'s own.')
param simpleChatVaultResourceGroup string = ''
@description('Secrets of Simple Chat\'s vault that receive the access token: their names, with commas between.')
param simpleChatSecrets string = ''
@description('Secrets of the refresher\'s own vault that receive the access token beside NAME-oauth-token, with commas between. Of several connections: those that their publish_to names.')
param publishedSecrets string = 'servicenow--action--global--oauth-token'

@description('Https origin of the ServiceNow instance; not needed where connections are given.')
param instanceUrl string = ''
@description('Several connections: a JSON object, name to keys (docs/settings.md).')
param connections string = ''
@allowed(['refresh_token', 'client_credentials', 'jwt_bearer', 'password'])
param grant string = 'refresh_token'
@allowed(['', 'client_credentials', 'jwt_bearer', 'password'])
param fallbackGrant string = ''
@description('Seconds that a refresh token lives, as set on the OAuth application.')
param refreshTokenLifetime int = 8640000
@description('Claims of the JWT bearer grant: a JSON object. The key itself is a secret of the vault.')
param jwt string = ''
@description('The tick: six fields, UTC.')
param refreshSchedule string = '0 */5 * * * *'
@description('Age, in minutes, at which a token is refreshed.')
param refreshIntervalMinutes int = 50
@description('Path asked with a new token before it is published; empty: none.')
param probePath string = '/api/now/table/sys_user?sysparm_query=user_name=javascript:gs.getUserName()&sysparm_fields=user_name&sysparm_limit=1'
@description('Permits instance hosts outside of ServiceNow\'s own domains.')
param allowCustomHost bool = false
@description('Name of a storage queue that spreads the connections over instances; empty: one run does all.')
param refreshQueue string = ''

@description('Address that the alerts are mailed to; empty: none.')
param alertEmail string = ''
@description('Resource id of an action group that is already there; empty: none.')
param actionGroupId string = ''
@description('Where the runbook can be read.')
param runbookUrl string = 'docs/runbook'
@description('Days that events are kept.')
param logRetentionDays int = 90
@description('A network of its own, private endpoints, and no public way to vault and storage.')
param privateNetwork bool = false
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
@description('Replication of the storage account; Standard_LRS in a region without zones.')
param storageSku string = 'Standard_ZRS'
@description('Instances in several zones, in a region that has them.')
param zoneRedundant bool = false

var abbreviations = loadJsonContent('abbreviations.json')
var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var deploymentContainer = 'deployments'
var leaseContainer = 'leases'
var targetSuffix = '--action--global--oauth-token'

// Of several connections, each has its default target unless it names others; the parameter's default is the single one's.
var givenConnections = json(empty(connections) ? '{}' : connections)
var defaultTargets = [for connection in items(givenConnections): contains(connection.value, 'publish_to') ? '' : '${connection.key}${targetSuffix}']
var listedTargets = (empty(connections) || publishedSecrets != 'servicenow${targetSuffix}') ? split(publishedSecrets, ',') : []
var ownTargets = filter(union(listedTargets, defaultTargets), target => !empty(target))
var simpleChatTargets = empty(simpleChatSecrets) ? [] : split(simpleChatSecrets, ',')
var simpleChatTargetUrls = [for target in simpleChatTargets: 'https://${simpleChatVaultName}${environment().suffixes.keyvaultDns}/secrets/${target}']
// The single connection has a name as well.
var namedConnections = json(empty(connections) ? '{"servicenow": {}}' : connections)
var connectionNames = [for connection in items(namedConnections): connection.key]
var readByConnection = [for name in connectionNames: [
  '${name}-client-id'
  '${name}-client-secret'
  '${name}-username'
  '${name}-password'
  '${name}-jwt-key'
]]
var writtenByConnection = [for name in connectionNames: [
  '${name}-refresh-token'
  '${name}-oauth-token'
  '${name}-refresh-record'
]]
var hasOwnVault = empty(keyVaultName)
var vaultName = hasOwnVault ? '${abbreviations.keyVault}${token}' : keyVaultName
var vaultGroup = (hasOwnVault || empty(keyVaultResourceGroup)) ? group.name : keyVaultResourceGroup

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: '${abbreviations.resourceGroup}${environmentName}'
  location: location
  tags: tags
}

// Built-in roles can either not write secrets or also delete and purge them.
resource secretReader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, environmentName, 'secret-reader')
  properties: {
    roleName: 'ServiceNow token refresher: read a secret (${environmentName}, ${token})'
    description: 'Reads the value of the secret that it is assigned on.'
    type: 'CustomRole'
    assignableScopes: [subscription().id]
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: ['Microsoft.KeyVault/vaults/secrets/getSecret/action']
        notDataActions: []
      }
    ]
  }
}

resource secretWriter 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, environmentName, 'secret-writer')
  properties: {
    roleName: 'ServiceNow token refresher: keep a secret (${environmentName}, ${token})'
    description: 'Reads, writes and recovers the secret that it is assigned on; cannot delete or purge it.'
    type: 'CustomRole'
    assignableScopes: [subscription().id]
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.KeyVault/vaults/secrets/getSecret/action'
          'Microsoft.KeyVault/vaults/secrets/readMetadata/action'
          'Microsoft.KeyVault/vaults/secrets/recover/action'
          'Microsoft.KeyVault/vaults/secrets/setSecret/action'
          'Microsoft.KeyVault/vaults/secrets/update/action'
        ]
        notDataActions: []
      }
    ]
  }
}

module identity 'app/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: '${abbreviations.userAssignedIdentity}${token}'
    location: location
    tags: tags
  }
}

module monitoring 'app/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    workspaceName: '${abbreviations.logAnalyticsWorkspace}${token}'
    applicationInsightsName: '${abbreviations.applicationInsights}${token}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    retentionInDays: logRetentionDays
  }
}

module storage 'app/storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    name: '${abbreviations.storageAccount}${token}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    operatorId: principalId
    operatorType: principalType
    deploymentContainer: deploymentContainer
    leaseContainer: leaseContainer
    refreshQueue: refreshQueue
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
    sku: storageSku
  }
}

module vault 'app/vault.bicep' = if (hasOwnVault) {
  name: 'vault'
  scope: group
  params: {
    name: vaultName
    location: location
    tags: tags
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
    logAnalyticsWorkspaceId: monitoring.outputs.workspaceId
  }
}

module access 'app/access.bicep' = {
  name: 'access'
  scope: resourceGroup(vaultGroup)
  params: {
    vaultName: vaultName
    principalId: identity.outputs.principalId
    readRoleId: secretReader.id
    writeRoleId: secretWriter.id
    readableSecrets: flatten(readByConnection)
    writableSecrets: concat(flatten(writtenByConnection), ownTargets)
  }
  dependsOn: [vault]
}

module simpleChatAccess 'app/access.bicep' = if (!empty(simpleChatVaultName)) {
  name: 'simple-chat-access'
  scope: resourceGroup(empty(simpleChatVaultResourceGroup) ? group.name : simpleChatVaultResourceGroup)
  params: {
    vaultName: simpleChatVaultName
    principalId: identity.outputs.principalId
    readRoleId: secretReader.id
    writeRoleId: secretWriter.id
    readableSecrets: []
    writableSecrets: simpleChatTargets
  }
}

module operator 'app/operator.bicep' = if (hasOwnVault && !empty(principalId)) {
  name: 'operator'
  scope: resourceGroup(vaultGroup)
  params: {
    vaultName: vaultName
    operatorId: principalId
    operatorType: principalType
  }
  dependsOn: [vault]
}

module network 'app/network.bicep' = if (privateNetwork) {
  name: 'network'
  scope: group
  params: {
    name: '${abbreviations.virtualNetwork}${token}'
    endpointPrefix: '${abbreviations.privateEndpoint}${token}-'
    location: location
    tags: tags
    vaultId: resourceId(subscription().subscriptionId, vaultGroup, 'Microsoft.KeyVault/vaults', vaultName)
    storageAccountId: storage.outputs.accountId
  }
  dependsOn: [vault]
}

module api 'app/api.bicep' = {
  name: 'api'
  scope: group
  params: {
    name: '${abbreviations.functionApp}${token}'
    planName: '${abbreviations.plan}${token}'
    location: location
    tags: tags
    zoneRedundant: zoneRedundant
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    applicationInsightsConnectionString: monitoring.outputs.connectionString
    blobEndpoint: storage.outputs.blobEndpoint
    queueEndpoint: storage.outputs.queueEndpoint
    deploymentContainerUrl: storage.outputs.deploymentContainerUrl
    subnetId: privateNetwork ? network.outputs.appSubnetId : ''
    keyVaultUrl: access.outputs.vaultUri
    instanceUrl: instanceUrl
    connections: connections
    grant: grant
    fallbackGrant: fallbackGrant
    refreshTokenLifetime: refreshTokenLifetime
    jwt: jwt
    publishTo: join(concat(ownTargets, simpleChatTargetUrls), ',')
    refreshSchedule: refreshSchedule
    refreshIntervalMinutes: refreshIntervalMinutes
    probePath: probePath
    leaseContainerUrl: storage.outputs.leaseContainerUrl
    allowCustomHost: allowCustomHost
    refreshQueue: refreshQueue
  }
}

module actionGroup 'app/action-group.bicep' = if (!empty(alertEmail)) {
  name: 'action-group'
  scope: group
  params: {
    name: '${abbreviations.actionGroup}${token}'
    tags: tags
    email: alertEmail
  }
}

module alerts 'app/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    connectionNames: connectionNames
    silenceMinutes: refreshIntervalMinutes + 15
    actionGroupIds: concat(empty(alertEmail) ? [] : [actionGroup.outputs.id], empty(actionGroupId) ? [] : [actionGroupId])
    runbookUrl: runbookUrl
  }
}

module workbook 'app/workbook.bicep' = {
  name: 'workbook'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
  }
}

output AZURE_RESOURCE_GROUP string = group.name
output AZURE_FUNCTION_APP_NAME string = api.outputs.name
output AZURE_FUNCTION_APP_URL string = api.outputs.url
output AZURE_KEY_VAULT_NAME string = vaultName
// What the command line needs on a laptop: `azd env get-values` prints it.
output KEY_VAULT_URL string = access.outputs.vaultUri
output LEASE_CONTAINER_URL string = storage.outputs.leaseContainerUrl
