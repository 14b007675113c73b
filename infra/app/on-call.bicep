// Who is on call sees names and dates of secrets and no values, and calls the functions.

param vaultName string
param appName string
param groupId string
param callRoleId string
@description('Whether the vault is the refresher\'s own; nobody is given a role on another one.')
param hasOwnVault bool

var keyVaultReader = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '21090545-7ca7-4776-b22c-e362652fd0ac'
)

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' existing = {
  name: vaultName
}

resource app 'Microsoft.Web/sites@2025-03-01' existing = {
  name: appName
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

resource caller 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(app.id, groupId, callRoleId)
  scope: app
  properties: {
    principalId: groupId
    principalType: 'Group'
    roleDefinitionId: callRoleId
  }
}
