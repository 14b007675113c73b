// Who is on call sees names and dates of secrets and no values, and who holds a lease, and calls the functions.

param vaultName string
param appName string
param storageAccountName string
param leaseContainer string
param groupId string
param callRoleId string
@description('Whether the vault is the refresher\'s own; nobody is given a role on another one.')
param hasOwnVault bool

var keyVaultReader = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '21090545-7ca7-4776-b22c-e362652fd0ac'
)

var blobReader = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1'
)

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' existing = {
  name: vaultName
}

resource app 'Microsoft.Web/sites@2025-03-01' existing = {
  name: appName
}

resource leases 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-04-01' existing = {
  name: '${storageAccountName}/default/${leaseContainer}'
}

resource reader 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasOwnVault) {
  name: guid(vault.id, groupId, keyVaultReader)
  scope: vault
  properties: {
    principalId: groupId
    principalType: 'Group'
    roleDefinitionId: keyVaultReader
  }
}

// The last tick is noted there, and the holder of a lease: what `status` and `doctor` tell of them.
resource leaseReader 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(leases.id, groupId, blobReader)
  scope: leases
  properties: {
    principalId: groupId
    principalType: 'Group'
    roleDefinitionId: blobReader
  }
}

resource caller 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(app.id, groupId, callRoleId)
  scope: app
  properties: {
    principalId: groupId
    principalType: 'Group'
    roleDefinitionId: callRoleId
  }
}
