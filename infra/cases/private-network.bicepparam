// A network of its own, no public way to vault and storage.
using '../main.bicep'

param environmentName = 'refresher'
param location = 'westeurope'
param principalId = '00000000-0000-0000-0000-00000000000a'
param instanceUrl = 'https://contoso.service-now.com'
param privateNetwork = true
